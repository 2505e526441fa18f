//! Bytes of any length in blocks of one size, which are used again: nothing is allocated for a journey.

use super::super::{chunks::Chunks, index::NONE};

/// Bytes in one block. Six plain sightings with their instants seconds apart are 37 to 42 bytes.
const PER_BLOCK: usize = 44;

/// A list of bytes. It has to be given back with [`Blocks::release`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bytes {
    first: u32,
    len: u32,
}

#[derive(Debug)]
pub(super) struct Blocks {
    blocks: Chunks<Block>,
    /// The first free block.
    free: u32,
}

#[derive(Clone, Debug)]
struct Block {
    bytes: [u8; PER_BLOCK],
    /// The next of the same list, or the next free one.
    next: u32,
}

impl Bytes {
    pub(super) const EMPTY: Self = Self { first: NONE, len: 0 };
}

impl Blocks {
    pub(super) fn new() -> Self {
        Self { blocks: Chunks::new(), free: NONE }
    }

    /// Reads a list into a buffer, from its start.
    pub(super) fn read(&self, list: Bytes, into: &mut Vec<u8>) {
        into.clear();
        let mut block = list.first;
        let mut left = list.len as usize;
        while left > 0 {
            let Block { bytes, next } = self.blocks.get(block);
            let count = left.min(PER_BLOCK);
            into.extend_from_slice(&bytes[..count]);
            left -= count;
            block = *next;
        }
    }

    /// Whether a list begins with these bytes.
    pub(super) fn starts_with(&self, list: Bytes, start: &[u8]) -> bool {
        let mut block = list.first;
        start.len() <= list.len as usize
            && start.chunks(PER_BLOCK).all(|part| {
                let Block { bytes, next } = self.blocks.get(block);
                block = *next;
                &bytes[..part.len()] == part
            })
    }

    /// Makes a list be these bytes. Up to `same` they are what the list holds already.
    pub(super) fn write(&mut self, list: &mut Bytes, bytes: &[u8], same: usize) {
        let had = (list.len as usize).div_ceil(PER_BLOCK);
        let needed = bytes.len().div_ceil(PER_BLOCK);
        let mut before = NONE;
        let mut block = list.first;
        for (number, part) in bytes.chunks(PER_BLOCK).enumerate() {
            if number >= had {
                block = self.take();
                match before {
                    NONE => list.first = block,
                    before => self.blocks.get_mut(before).next = block,
                }
            }
            let Block { bytes, next } = self.blocks.get_mut(block);
            if (number + 1) * PER_BLOCK > same {
                bytes[..part.len()].copy_from_slice(part);
            }
            before = block;
            block = *next;
        }
        list.len = bytes.len() as u32;
        if needed < had {
            match before {
                NONE => list.first = NONE,
                before => self.blocks.get_mut(before).next = NONE,
            }
            self.release_from(block);
        }
    }

    /// Gives the blocks of a list back.
    pub(super) fn release(&mut self, list: Bytes) {
        if list.len > 0 {
            self.release_from(list.first);
        }
    }

    /// Puts a block and all after it in front of the free ones.
    fn release_from(&mut self, first: u32) {
        let mut last = first;
        while self.blocks.get(last).next != NONE {
            last = self.blocks.get(last).next;
        }
        self.blocks.get_mut(last).next = self.free;
        self.free = first;
    }

    /// A block that is last in its list.
    fn take(&mut self) -> u32 {
        match self.free {
            NONE => self.blocks.push(Block { bytes: [0; PER_BLOCK], next: NONE }),
            free => {
                self.free = std::mem::replace(&mut self.blocks.get_mut(free).next, NONE);
                free
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_list_holds_what_was_written_to_it(
            steps in prop::collection::vec((0_usize..5, prop::collection::vec(any::<u8>(), 0..300), any::<bool>()), 1..60),
        ) {
            let mut blocks = Blocks::new();
            let mut lists = vec![(Bytes::EMPTY, Vec::new()); 5];
            let mut read = Vec::new();
            let mut most = 0;
            for (at, mut bytes, release) in steps {
                let (list, held) = &mut lists[at];
                if release {
                    blocks.release(*list);
                    (*list, *held) = (Bytes::EMPTY, Vec::new());
                } else {
                    // As often as not the start stays.
                    let kept = if bytes.len() % 2 == 0 { held.len().min(bytes.len()) } else { 0 };
                    bytes[..kept].copy_from_slice(&held[..kept]);
                    blocks.write(list, &bytes, kept);
                    *held = bytes;
                }
                for (list, held) in &lists {
                    blocks.read(*list, &mut read);
                    prop_assert_eq!(&read, held);
                    prop_assert!(blocks.starts_with(*list, &held[..held.len() / 2]));
                    prop_assert!(!blocks.starts_with(*list, &[&held[..], &[0]].concat()));
                }
                most = most.max(lists.iter().map(|(_, held)| held.len().div_ceil(PER_BLOCK)).sum());
                prop_assert!(blocks.blocks.len() <= most, "blocks that are free are used again");
            }
        }
    }

    #[test]
    fn nothing_is_wasted_between_blocks() {
        assert_eq!(size_of::<Block>(), 48);
    }
}
