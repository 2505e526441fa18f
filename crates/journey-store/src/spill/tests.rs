use proptest::prelude::*;

use super::*;
use crate::event::{SpanId, TraceId};

fn event(seq: u64) -> Event {
    let mut event = Event::new(TraceId::new(7).unwrap(), SpanId::new(seq).unwrap(), "stage:completed", seq as i64);
    (event.emitter, event.seq) = (9, seq);
    event.data.insert("note".to_owned(), "JREC or not".into());
    event
}

fn account(emitted: u64) -> EmitterAccount {
    EmitterAccount { emitter: 9, emitted, ..EmitterAccount::default() }
}

fn read_all(spill: &mut Spill) -> (Vec<u64>, u64) {
    let (mut seqs, mut damaged) = (Vec::new(), 0);
    while let Some(group) = spill.next_group(10).unwrap() {
        seqs.extend(group.events.iter().map(|event| event.seq));
        damaged += group.damaged;
        if spill.release(group.end) {
            break;
        }
    }
    (seqs, damaged)
}

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("events.spill")
    }

    fn open(&self) -> Spill {
        Spill::open(&self.path(), 1 << 20).unwrap()
    }

    /// A file with groups of these events.
    fn with(groups: &[&[u64]]) -> Self {
        let place = Self::new();
        let mut spill = place.open();
        for group in groups {
            let events: Vec<Event> = group.iter().copied().map(event).collect();
            assert_eq!(spill.append(&events, &account(group[group.len() - 1])).unwrap(), group.len());
        }
        place
    }
}

#[test]
fn groups_come_back_in_order_also_in_the_next_process() {
    let place = Place::with(&[&[1, 2, 3], &[4]]);
    let mut spill = place.open();
    let group = spill.next_group(10).unwrap().unwrap();
    assert_eq!((group.events, group.account, group.damaged), (vec![event(1), event(2), event(3)], Some(account(3)), 0));
    assert_eq!(spill.next_group(2).unwrap().unwrap().events, [event(1), event(2)], "until it is released");
    assert!(!spill.release(group.end));
    assert_eq!(spill.append(&[event(5)], &account(5)).unwrap(), 1);
    assert_eq!(read_all(&mut spill), (vec![4, 5], 0));
    assert!(spill.is_empty() && spill.next_group(10).unwrap().is_none());
    assert_eq!(fs::metadata(place.path()).unwrap().len(), HEADER.len() as u64, "the place is free again");
    assert_eq!(spill.append(&[event(6)], &account(6)).unwrap(), 1);
    assert_eq!(read_all(&mut spill), (vec![6], 0));
}

#[test]
fn the_limit_holds_and_says_how_many_there_was_room_for() {
    let place = Place::new();
    let mut spill = Spill::open(&place.path(), 2_000).unwrap();
    let events: Vec<Event> = (1..=100).map(event).collect();
    let kept = spill.append(&events, &account(100)).unwrap();
    assert!((2..20).contains(&kept), "{kept}");
    assert_eq!(spill.append(&events[kept..], &account(100)).unwrap(), 0);
    assert!(fs::metadata(place.path()).unwrap().len() <= 2_000);
    assert_eq!(read_all(&mut spill).0.len(), kept);
    assert_eq!(spill.append(&events[kept..], &account(100)).unwrap(), kept, "there is room again");
}

#[test]
fn a_file_has_one_user_and_is_not_overwritten_if_it_is_something_else() {
    let place = Place::with(&[&[1]]);
    let spill = place.open();
    let error = Spill::open(&place.path(), 1_000).err().unwrap().to_string();
    assert!(error.contains("is in use by another emitter"), "{error}");
    drop(spill);
    assert_eq!(read_all(&mut place.open()).0, [1]);
    fs::write(place.path(), "somebody's letters").unwrap();
    assert!(place.open().is_empty());
    let aside = fs::read_to_string(beside(&place.path(), "unreadable")).unwrap();
    assert_eq!(aside, "somebody's letters");
}

#[test]
fn wherever_a_write_was_cut_off_all_before_it_is_found() {
    let place = Place::with(&[&[1, 2], &[3, 4]]);
    let whole = fs::read(place.path()).unwrap();
    for length in 0..whole.len() {
        fs::write(place.path(), &whole[..length]).unwrap();
        let mut spill = place.open();
        // What is appended after the torn end is found too.
        spill.append(&[event(5)], &account(5)).unwrap();
        let (seqs, damaged) = read_all(&mut spill);
        let (last, before) = seqs.split_last().unwrap();
        assert_eq!((*last, damaged <= 1), (5, true), "{length}: {seqs:?} {damaged}");
        assert_eq!(before, [1, 2, 3, 4][..before.len()].to_vec(), "{length}");
        let complete = whole[..length].windows(9).filter(|bytes| bytes == b"{\"event\":").count().saturating_sub(1);
        assert!(before.len() >= complete, "{length}: {seqs:?}");
    }
}

#[test]
fn whichever_byte_is_damaged_one_record_is_lost_at_most() {
    let place = Place::with(&[&[1, 2], &[3, 4]]);
    let whole = fs::read(place.path()).unwrap();
    for at in HEADER.len()..whole.len() {
        let flip = [0x01, 0x80, 0xff][at % 3];
        let mut bytes = whole.clone();
        bytes[at] ^= flip;
        fs::write(place.path(), bytes).unwrap();
        let (seqs, damaged) = read_all(&mut place.open());
        assert!(seqs.len() >= 3 && damaged >= 1, "byte {at} ^ {flip}: {seqs:?}, {damaged} damaged");
        assert!(seqs.is_sorted() && seqs.iter().all(|seq| (1..=4).contains(seq)), "byte {at}: {seqs:?}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_to_their_end(bytes in prop::collection::vec(any::<u8>(), 0..2_000), marks in prop::collection::vec(0..2_000_usize, 0..5)) {
        let place = Place::new();
        let mut content = HEADER.to_vec();
        content.extend(&bytes);
        for mark in marks {
            if mark + 12 < bytes.len() {
                content[HEADER.len() + mark..][..4].copy_from_slice(b"JREC");
                content[HEADER.len() + mark + 6] = 0;
                content[HEADER.len() + mark + 7] = 0;
            }
        }
        fs::write(place.path(), &content).unwrap();
        let mut spill = place.open();
        let (seqs, damaged) = read_all(&mut spill);
        prop_assert_eq!((seqs.len(), damaged > 0), (0, !bytes.is_empty()));
        prop_assert!(spill.is_empty());
    }
}
