//! A correlation id as the pool keeps it: the sixteen bytes of a UUID, a short text, or the hash of a longer one.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::RandomState;

use crate::{id::CorrelationId, routes::RouteIndex, uuid};

/// Sixteen bytes that stand for an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    bytes: [u8; 16],
    /// 0: a UUID. Up to 16: a text of so many bytes. More: the hash of a text of so many bytes, which is kept in front of
    /// the sightings.
    len: u8,
}

impl Key {
    pub(super) fn of(id: &CorrelationId, hasher: &RandomState) -> Self {
        let text = id.as_bytes();
        if let Some(bytes) = uuid::pack(text) {
            return Self { bytes, len: 0 };
        }
        let mut bytes = [0; 16];
        match bytes.get_mut(..text.len()) {
            Some(place) => place.copy_from_slice(text),
            None => bytes[..8].copy_from_slice(&hasher.hash_one(text).to_le_bytes()),
        }
        // An id has at most 128 bytes.
        Self { bytes, len: text.len() as u8 }
    }

    /// Bytes of the text that are kept in front of the sightings.
    pub(super) fn text_in_front(self) -> usize {
        if usize::from(self.len) > self.bytes.len() { usize::from(self.len) } else { 0 }
    }

    /// A number for a route and id.
    pub(super) fn hash(self, route: RouteIndex, hasher: &RandomState) -> u64 {
        let mut state = hasher.build_hasher();
        state.write_u128(u128::from_le_bytes(self.bytes));
        state.write_u16(u16::from_le_bytes([route.0, self.len]));
        state.finish()
    }

    /// The id; `front` starts with the text that is kept in front of the sightings.
    pub(super) fn id(self, front: &[u8]) -> CorrelationId {
        let uuid = if self.len == 0 { uuid::text(self.bytes) } else { [0; uuid::LEN] };
        let text = match usize::from(self.len) {
            0 => &uuid[..],
            short if short <= self.bytes.len() => &self.bytes[..short],
            long => &front[..long],
        };
        let id = std::str::from_utf8(text).ok().and_then(|text| CorrelationId::new(text).ok());
        id.unwrap_or_else(|| unreachable!("an id that was taken stays one"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ids() -> impl Strategy<Value = CorrelationId> {
        let uuid = any::<[u8; 16]>().prop_map(|bytes| String::from_utf8(uuid::text(bytes).to_vec()).unwrap());
        let upper =
            any::<[u8; 16]>().prop_map(|bytes| String::from_utf8(uuid::text(bytes).to_vec()).unwrap().to_uppercase());
        let text = prop_oneof![uuid, upper, "[a-z0-9äß€]{1,40}", "[ -~]{1,128}", "[ab]{15,18}"];
        text.prop_filter_map("an id", |text| CorrelationId::new(&text).ok())
    }

    proptest! {
        #[test]
        fn an_id_comes_back_as_it_was(id in ids()) {
            let key = Key::of(&id, &RandomState::default());
            let front = &id.as_str().as_bytes()[..key.text_in_front()];
            prop_assert_eq!(key.id(front), id);
        }

        #[test]
        fn different_ids_have_different_keys(one in ids(), other in ids()) {
            let hasher = RandomState::default();
            let (first, second) = (Key::of(&one, &hasher), Key::of(&other, &hasher));
            prop_assert_eq!(one == other, first == second);
            prop_assert_eq!(first == second, first.hash(RouteIndex(0), &hasher) == second.hash(RouteIndex(0), &hasher));
            prop_assert_ne!(first.hash(RouteIndex(0), &hasher), first.hash(RouteIndex(1), &hasher));
        }
    }

    #[test]
    fn a_uuid_and_the_text_of_its_bytes_are_two_ids() {
        let hasher = RandomState::default();
        let bytes = *b"abcdefghijklmnop";
        let uuid = CorrelationId::new(std::str::from_utf8(&uuid::text(bytes)).unwrap()).unwrap();
        let text = CorrelationId::new("abcdefghijklmnop").unwrap();
        assert_ne!(Key::of(&uuid, &hasher), Key::of(&text, &hasher));
    }
}
