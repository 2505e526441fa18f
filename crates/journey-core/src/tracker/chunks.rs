//! Values at places that never move: growing touches no value that is there.

/// Values in one chunk, a power of two.
const PER_CHUNK: usize = 1024;

/// A list that grows by chunks. A vector would copy all it holds when it grows, which takes long with a million values.
#[derive(Debug)]
pub(super) struct Chunks<T> {
    chunks: Vec<Vec<T>>,
    len: usize,
}

impl<T> Chunks<T> {
    pub(super) fn new() -> Self {
        Self { chunks: Vec::new(), len: 0 }
    }

    /// Adds a value and says where it is.
    pub(super) fn push(&mut self, value: T) -> u32 {
        let place = self.len;
        if place.is_multiple_of(PER_CHUNK) {
            self.chunks.push(Vec::with_capacity(PER_CHUNK));
        }
        self.chunks[place / PER_CHUNK].push(value);
        self.len += 1;
        place as u32
    }

    /// How many values there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The value at a place that [`Chunks::push`] gave.
    pub(super) fn get(&self, place: u32) -> &T {
        let place = place as usize;
        &self.chunks[place / PER_CHUNK][place % PER_CHUNK]
    }

    /// The same, to change.
    pub(super) fn get_mut(&mut self, place: u32) -> &mut T {
        let place = place as usize;
        &mut self.chunks[place / PER_CHUNK][place % PER_CHUNK]
    }

    /// All values in the order of their places.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.chunks.iter().flatten()
    }
}
