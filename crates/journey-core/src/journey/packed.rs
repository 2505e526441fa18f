//! Sightings as bytes, exactly: most journeys that are open hold a few plain ones, and a million of them shall fit.
//!
//! A sighting is its flags, the low byte of its stage, and what the flags announce, in the order of the constants below.
//! Its instant is the difference to the first one of the journey, in as many bytes as that takes. In a journey with span
//! contexts there is one trace id, most often: it is kept once, and a sighting with a span is of that trace.

use super::Sighting;
use crate::{
    checkpoint::{ClockKind, Outcome, Resolution, SourceIndex},
    route::StageIndex,
};

/// Bytes of the instant's difference; the last code is eight.
const INSTANT: u8 = 0b111;
const BUSY: u8 = 1 << 3;
const IDLE: u8 = 1 << 4;
const SPAN: u8 = 1 << 5;
/// A byte about the kind of sighting follows; without one it is a success by the clock of its process.
const KIND: u8 = 1 << 6;
/// A byte of [`SOURCE`] and [`TRACE`] follows.
const MORE: u8 = 1 << 7;

/// Kind: outcome and clock in two bits each, resolution in two, carried, and the high bit of the stage.
const CARRIED: u8 = 1 << 6;
const HIGH_STAGE: u8 = 1 << 7;

/// More: the source is not the process of the tracker.
const SOURCE: u8 = 1;
/// More: which trace the span is of.
const TRACE: u8 = 0b110;
/// As the sighting has a span or not.
const TRACE_AS_EXPECTED: u8 = 0;
/// There is a span and no trace.
const TRACE_NONE: u8 = 1 << 1;
/// There is no span and the common trace.
const TRACE_COMMON: u8 = 2 << 1;
/// Another trace: sixteen bytes.
const TRACE_OWN: u8 = 3 << 1;

/// What all sightings of a journey are written against.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Common {
    /// The instant that was recorded first.
    pub(crate) base: i64,
    /// The trace id that was recorded first, 0 while there is none.
    pub(crate) trace_id: u128,
}

/// Appends one sighting. Its stage is at most 511: an open route has 257 of them.
pub(crate) fn write(sighting: &Sighting, common: Common, bytes: &mut Vec<u8>) {
    let instant = zigzag(sighting.at.wrapping_sub(common.base));
    let instant_bytes = (64 - instant.leading_zeros()).div_ceil(8) as usize;
    let kind = sighting.outcome as u8
        | (sighting.clock as u8) << 2
        | (sighting.resolution as u8) << 4
        | if sighting.carried { CARRIED } else { 0 }
        | if sighting.stage.0 > 0xff { HIGH_STAGE } else { 0 };
    let trace = trace_code(sighting, common);
    let more = trace | if sighting.source.0 != 0 { SOURCE } else { 0 };
    let when = |condition: bool, flag: u8| if condition { flag } else { 0 };
    bytes.push(
        instant_bytes.min(7) as u8
            | when(sighting.busy_us != 0, BUSY)
            | when(sighting.idle_us != 0, IDLE)
            | when(sighting.span_id != 0, SPAN)
            | when(kind != 0, KIND)
            | when(more != 0, MORE),
    );
    bytes.push(sighting.stage.0 as u8);
    // Seven bytes are written as eight: there is no code for both.
    let instant_bytes = if instant_bytes == 7 { 8 } else { instant_bytes };
    bytes.extend_from_slice(&instant.to_le_bytes()[..instant_bytes]);
    if sighting.busy_us != 0 {
        write_varint(sighting.busy_us, bytes);
    }
    if sighting.idle_us != 0 {
        write_varint(sighting.idle_us, bytes);
    }
    if sighting.span_id != 0 {
        bytes.extend_from_slice(&sighting.span_id.to_le_bytes());
    }
    if kind != 0 {
        bytes.push(kind);
    }
    if more != 0 {
        bytes.push(more);
    }
    if sighting.source.0 != 0 {
        bytes.extend_from_slice(&sighting.source.0.to_le_bytes());
    }
    if trace == TRACE_OWN {
        bytes.extend_from_slice(&sighting.trace_id.to_le_bytes());
    }
}

/// Reads one sighting and moves `bytes` behind it; `None` at the end, or where these are not bytes of [`write`].
pub(crate) fn read(bytes: &mut &[u8], common: Common) -> Option<Sighting> {
    let [flags, stage] = take(bytes)?;
    let instant = match flags & INSTANT {
        7 => u64::from_le_bytes(take(bytes)?),
        count => take_number(bytes, usize::from(count))?,
    };
    let busy_us = if flags & BUSY != 0 { read_varint(bytes)? } else { 0 };
    let idle_us = if flags & IDLE != 0 { read_varint(bytes)? } else { 0 };
    let span_id = if flags & SPAN != 0 { u64::from_le_bytes(take(bytes)?) } else { 0 };
    let mut sighting = Sighting {
        at: common.base.wrapping_add(unzigzag(instant)),
        trace_id: if span_id != 0 { common.trace_id } else { 0 },
        span_id,
        busy_us,
        idle_us,
        source: SourceIndex(0),
        stage: StageIndex(u16::from(stage)),
        outcome: Outcome::Reached,
        clock: ClockKind::Process,
        resolution: Resolution::Fine,
        carried: false,
    };
    if flags & (KIND | MORE) != 0 {
        read_rest(bytes, flags, common, &mut sighting)?;
    }
    Some(sighting)
}

fn read_rest(bytes: &mut &[u8], flags: u8, common: Common, sighting: &mut Sighting) -> Option<()> {
    if flags & KIND != 0 {
        let [kind] = take(bytes)?;
        sighting.outcome = [Outcome::Reached, Outcome::Failed, Outcome::Cancelled][usize::from(kind & 3).min(2)];
        sighting.clock =
            [ClockKind::Process, ClockKind::Platform, ClockKind::Carried][usize::from(kind >> 2 & 3).min(2)];
        sighting.resolution =
            [Resolution::Fine, Resolution::Millisecond, Resolution::Second][usize::from(kind >> 4 & 3).min(2)];
        sighting.carried = kind & CARRIED != 0;
        sighting.stage.0 |= if kind & HIGH_STAGE != 0 { 0x100 } else { 0 };
    }
    if flags & MORE != 0 {
        let [more] = take(bytes)?;
        if more & SOURCE != 0 {
            sighting.source = SourceIndex(u16::from_le_bytes(take(bytes)?));
        }
        match more & TRACE {
            TRACE_NONE => sighting.trace_id = 0,
            TRACE_COMMON => sighting.trace_id = common.trace_id,
            TRACE_OWN => sighting.trace_id = u128::from_le_bytes(take(bytes)?),
            _ => {}
        }
    }
    Some(())
}

fn trace_code(sighting: &Sighting, common: Common) -> u8 {
    let expected = if sighting.span_id != 0 { common.trace_id } else { 0 };
    match sighting.trace_id {
        id if id == expected => TRACE_AS_EXPECTED,
        0 => TRACE_NONE,
        id if id == common.trace_id => TRACE_COMMON,
        _ => TRACE_OWN,
    }
}

/// Small numbers for small differences in either direction.
fn zigzag(number: i64) -> u64 {
    (number << 1 ^ number >> 63) as u64
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

fn write_varint(mut number: u32, bytes: &mut Vec<u8>) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn read_varint(bytes: &mut &[u8]) -> Option<u32> {
    let mut number = 0;
    for shift in (0..35).step_by(7) {
        let [byte] = take(bytes)?;
        number |= u32::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*taken)
}

/// A number of at most six bytes.
fn take_number(bytes: &mut &[u8], count: usize) -> Option<u64> {
    let number = match bytes.first_chunk() {
        // Mostly more follows: one read of eight bytes is quicker than a few of one.
        Some(eight) => u64::from_le_bytes(*eight) & ((1 << (8 * count)) - 1),
        None => bytes.get(..count)?.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)),
    };
    *bytes = bytes.get(count..)?;
    Some(number)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn instant() -> impl Strategy<Value = i64> {
        let near = (0_u32..63, any::<i64>()).prop_map(|(shift, number)| number >> shift);
        prop_oneof![near, any::<i64>(), Just(i64::MIN), Just(i64::MAX), Just(0)]
    }

    /// Any sighting: all values of every field, the edges more often than by chance.
    fn sighting() -> impl Strategy<Value = Sighting> {
        let time = || prop_oneof![Just(0), 0_u32..300, any::<u32>(), Just(u32::MAX)];
        let trace = prop_oneof![Just(0), Just(7), Just(8), any::<u128>()];
        let span = prop_oneof![Just(0), any::<u64>()];
        let source = prop_oneof![Just(0), 0_u16..300, any::<u16>(), Just(u16::MAX)];
        let outcome = prop::sample::select(vec![Outcome::Reached, Outcome::Failed, Outcome::Cancelled]);
        let clock = prop::sample::select(vec![ClockKind::Process, ClockKind::Platform, ClockKind::Carried]);
        let resolution = prop::sample::select(vec![Resolution::Fine, Resolution::Millisecond, Resolution::Second]);
        let kind = (outcome, clock, resolution, any::<bool>());
        (instant(), trace, span, time(), time(), source, 0_u16..512, kind).prop_map(
            |(at, trace_id, span_id, busy_us, idle_us, source, stage, (outcome, clock, resolution, carried))| {
                Sighting {
                    at,
                    trace_id,
                    span_id,
                    busy_us,
                    idle_us,
                    source: SourceIndex(source),
                    stage: StageIndex(stage),
                    outcome,
                    clock,
                    resolution,
                    carried,
                }
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_096))]

        #[test]
        fn what_was_written_is_read_back_exactly(
            sightings in prop::collection::vec(sighting(), 0..20),
            base in instant(),
            trace_id in prop_oneof![Just(0), Just(7), any::<u128>()],
        ) {
            let common = Common { base, trace_id };
            let mut bytes = Vec::new();
            sightings.iter().for_each(|sighting| write(sighting, common, &mut bytes));
            let mut rest = &bytes[..];
            let read: Vec<Sighting> = std::iter::from_fn(|| read(&mut rest, common)).collect();
            prop_assert_eq!(&read, &sightings);
            prop_assert!(rest.is_empty());
            // The same sightings are the same bytes.
            let mut again = Vec::new();
            read.iter().for_each(|sighting| write(sighting, common, &mut again));
            prop_assert_eq!(again, bytes);
        }

        #[test]
        fn any_bytes_end_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..60), base in instant()) {
            let mut rest = &bytes[..];
            while read(&mut rest, Common { base, trace_id: 7 }).is_some() {}
        }
    }

    #[test]
    fn a_plain_sighting_is_a_few_bytes() {
        let common = Common { base: 1_800_000_000_000_000_000, trace_id: 9 };
        let plain = Sighting {
            at: common.base + 2_255_000_000,
            trace_id: 0,
            span_id: 0,
            busy_us: 0,
            idle_us: 0,
            source: SourceIndex(0),
            stage: StageIndex(11),
            outcome: Outcome::Reached,
            clock: ClockKind::Process,
            resolution: Resolution::Fine,
            carried: false,
        };
        for (sighting, length) in [
            (Sighting { at: common.base, ..plain }, 2),
            (plain, 7),
            (Sighting { busy_us: 90, idle_us: 1_200, ..plain }, 10),
            (Sighting { trace_id: 9, span_id: 1, ..plain }, 15),
        ] {
            let mut bytes = Vec::new();
            write(&sighting, common, &mut bytes);
            assert_eq!(bytes.len(), length, "{sighting:?}");
        }
    }
}
