//! The tracker alone: how fast it takes checkpoints, and how long anybody waits for it.

use std::{
    fmt::Write as _,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use journey_core::{
    Checkpoint, CorrelationId, Limits, Live, Route, RouteIndex, Routes, Source, Sources, StageIndex, StageRef,
    TraceIdKey, Tracker, Window,
};
use tracing_journey::journey_http::{Health, HttpConfig, HttpServer};

use crate::{
    Result,
    child::{self, Figures, figures, number, quantile},
    page, processor_time,
    work::{self, Cursor, STAGES},
};

/// As the tracker's own thread: checkpoints per hold of the lock, and how often time passes.
const BATCH: usize = 256;
const TICK: Duration = Duration::from_millis(100);
const START: i64 = 1_800_000_000_000_000_000;

/// The command.
pub(crate) fn run() -> Result<()> {
    let mut all = Figures::new();
    let mut text = String::from(
        "### Tracker: one core, all stages of 300 000 journeys\n\nBy processor time of the one thread.\n\n| journeys open | checkpoints a second |\n|---|---|\n",
    );
    for window in ["1", "10000", "100000"] {
        let runs = (0..3).map(|_| child::run(&["throughput", window])).collect::<Result<Vec<_>>>()?;
        let rates: Vec<f64> = runs.iter().filter_map(|run| run.get("rate").copied()).collect();
        let rate = child::Spread::of(&rates);
        let _ = writeln!(text, "| {window} | {} |", rate.text(0));
        all.insert(format!("checkpoints_per_second_{window}"), rate.median);
    }
    page::keep_table("tracker", "throughput", &text)?;
    let mut holds = Figures::new();
    for _ in 0..5 {
        for (name, value) in child::run(&["holds"])? {
            let least = holds.entry(name).or_insert(f64::INFINITY);
            *least = least.min(value);
        }
    }
    let mut text = String::from(
        "### Longest calls with 1 000 000 journeys open\n\nProcessor time of the calling thread, the least of five runs: a pause of ours comes in every one. `nothing` does nothing, as often as `record`: what it shows is the machine's.\n\n| call | us | longer than 20 us |\n|---|---|---|\n",
    );
    for call in ["record", "tick", "tick_stuck", "summary", "lookup", "nothing"] {
        let of = |name: String| holds.get(&name).copied().unwrap_or(f64::NAN);
        let _ = writeln!(
            text,
            "| {call} | {:.0} | {} of {} |",
            of(format!("hold_{call}_us")),
            of(format!("slow_{call}")),
            of(format!("calls_{call}"))
        );
    }
    page::keep_table("tracker", "holds", &text)?;
    all.extend(holds);
    let readers = child::run(&["readers"])?;
    let mut text = String::from(
        "### Readers while one core records flat out, 100 000 journeys open\n\n| read | p50 ms | p99 ms |\n|---|---|---|\n",
    );
    for read in ["lookup", "summary", "metrics"] {
        let of = |name: String| readers.get(&name).copied().unwrap_or(f64::NAN);
        let _ = writeln!(text, "| {read} | {:.3} | {:.3} |", of(format!("{read}_p50_ms")), of(format!("{read}_ms")));
    }
    let _ = writeln!(
        text,
        "\nThe writer meanwhile took {:.0} checkpoints a second.",
        readers.get("reading_rate").copied().unwrap_or(f64::NAN)
    );
    page::keep_table("tracker", "readers", &text)?;
    all.extend(readers);
    page::keep("tracker", &all)
}

fn live(max_active: usize) -> Arc<Live> {
    let anchor = Instant::now();
    let clock = Arc::new(move || START + anchor.elapsed().as_nanos() as i64);
    let limits = Limits { max_active, ..Limits::default() };
    Live::new(Arc::new(Routes::default()), Source::default(), limits, TraceIdKey::default(), clock)
}

fn correlation_ids(count: usize) -> Result<Vec<CorrelationId>> {
    (0..count as u64).map(|number| Ok(CorrelationId::new(&work::id(number))?)).collect()
}

/// Writes as the tracker's thread does.
struct Writer<'a> {
    live: &'a Live,
    ids: &'a [CorrelationId],
    cursor: Cursor,
    at: i64,
    next_tick: Instant,
}

impl<'a> Writer<'a> {
    fn new(live: &'a Live, ids: &'a [CorrelationId], window: usize) -> Self {
        let cursor = Cursor::new(0, window, 0, 1);
        Self { live, ids, cursor, at: live.now(), next_tick: Instant::now() + TICK }
    }

    fn batch(&mut self) {
        self.live.write(|tracker, now| {
            for _ in 0..BATCH {
                let (journey, stage) = self.cursor.next(self.ids.len());
                self.at += 100;
                let _ = tracker.record(checkpoint(self.ids[journey].clone(), stage, self.at), now);
            }
        });
        if Instant::now() >= self.next_tick {
            self.live.tick();
            self.next_tick = Instant::now() + TICK;
        }
    }
}

fn checkpoint(id: CorrelationId, stage: usize, at: i64) -> Checkpoint {
    Checkpoint::reached(id, StageRef { route: RouteIndex(0), stage: StageIndex(stage as u16) }, at)
}

/// Child: checkpoints a second with so many journeys open.
pub(crate) fn throughput(arguments: &[&str]) -> Result<Figures> {
    let window = number(arguments, 0)?;
    let live = live(1_000_000);
    let ids = correlation_ids(300_000)?;
    let batches = ids.len() * STAGES / BATCH;
    let mut writer = Writer::new(&live, &ids, window);
    let start = processor_time();
    (0..batches).for_each(|_| writer.batch());
    let rate = (batches * BATCH) as f64 / processor_time().saturating_sub(start).as_secs_f64();
    let accounting = live.self_view().accounting;
    if accounting.recorded != accounting.offered || accounting.offered != (batches * BATCH) as u64 {
        return Err(format!("{} of {} checkpoints were recorded", accounting.recorded, accounting.offered).into());
    }
    Ok(figures([("rate", rate)]))
}

/// The longest of many calls.
#[derive(Default)]
struct Longest {
    calls: u64,
    slow: u64,
    longest: Duration,
}

/// Longer than this is worth counting.
const SLOW: Duration = Duration::from_micros(20);

impl Longest {
    fn time<R>(&mut self, call: impl FnOnce() -> R) -> R {
        let start = processor_time();
        let result = call();
        let took = processor_time().saturating_sub(start);
        self.calls += 1;
        self.slow += u64::from(took > SLOW);
        self.longest = self.longest.max(took);
        result
    }

    fn add_to(&self, all: &mut Figures, name: &str) {
        all.insert(format!("hold_{name}_us"), self.longest.as_secs_f64() * 1e6);
        all.insert(format!("slow_{name}"), self.slow as f64);
        all.insert(format!("calls_{name}"), self.calls as f64);
    }
}

/// Child: the longest calls while the tracker grows to a million open journeys, is read, and lets them expire.
pub(crate) fn holds() -> Result<Figures> {
    const JOURNEYS: usize = 1_000_000;
    let limits = Limits { max_active: JOURNEYS + 1, ..Limits::default() };
    let sources = Sources::new(Source::default());
    let mut tracker = Tracker::new(Arc::new(Routes::default()), sources, limits.clone(), TraceIdKey::default(), START);
    let ids = correlation_ids(JOURNEYS)?;
    let [mut record, mut tick, mut tick_stuck, mut summary, mut lookup, mut nothing] =
        std::array::from_fn(|_| Longest::default());
    for stage in 0..2 {
        for (number, id) in ids.iter().enumerate() {
            let at = START + (stage * JOURNEYS + number) as i64;
            let checkpoint = checkpoint(id.clone(), stage, at);
            record.time(|| tracker.record(checkpoint, START)).map_err(|reason| format!("refused: {reason:?}"))?;
            nothing.time(|| ());
        }
    }
    for _ in 0..20 {
        summary.time(|| tracker.summary_parts(None, Window::FiveMinutes, START));
    }
    for id in ids.iter().step_by(997) {
        lookup.time(|| tracker.journey(id.as_str(), None));
    }
    let stuck_at = START + limits.stuck_after.as_nanos() as i64 + 1;
    // Steps, between which others get the lock.
    while tick_stuck.time(|| tracker.tick_step(stuck_at)) {}
    for _ in 0..20 {
        summary.time(|| tracker.summary_parts(None, Window::FiveMinutes, stuck_at));
    }
    let expired_at = START + Route::message().ttl().as_nanos() as i64 + 2_000_000;
    while tick.time(|| tracker.tick_step(expired_at)) {
        drop(tracker.take_finished());
    }
    // What nobody was told about would have been left out of the times.
    let left = tracker.active();
    if left != 0 {
        return Err(format!("{left} journeys did not expire").into());
    }
    let mut all = Figures::new();
    let named = [
        ("record", record),
        ("tick", tick),
        ("tick_stuck", tick_stuck),
        ("summary", summary),
        ("lookup", lookup),
        ("nothing", nothing),
    ];
    named.iter().for_each(|(name, longest)| longest.add_to(&mut all, name));
    Ok(all)
}

/// Child: how long readers wait while a writer never rests.
pub(crate) fn readers() -> Result<Figures> {
    const OPEN: usize = 100_000;
    let live = live(1_000_000);
    let ids = correlation_ids(3 * OPEN)?;
    let (open, passing) = ids.split_at(OPEN);
    for batch in open.chunks(BATCH) {
        live.write(|tracker, now| {
            for (id, stage) in batch.iter().flat_map(|id| [(id, 0), (id, 1)]) {
                let _ = tracker.record(checkpoint(id.clone(), stage, now + stage as i64), now);
            }
        });
    }
    let config = HttpConfig { addr: SocketAddr::from(([127, 0, 0, 1], 0)), ..HttpConfig::default() };
    let server = HttpServer::start(Arc::clone(&live), Arc::new(Health::new()), config)?;
    let stop = AtomicBool::new(false);
    let result = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut writer = Writer::new(&live, passing, 1);
            while !stop.load(Relaxed) {
                writer.batch();
            }
        });
        let result = read(&live, open, server.local_addr());
        stop.store(true, Relaxed);
        let _ = writer.join();
        result
    });
    server.shutdown(Duration::from_secs(1));
    result
}

fn read(live: &Live, open: &[CorrelationId], addr: SocketAddr) -> Result<Figures> {
    let active = live.self_view().journeys.active;
    if active < open.len() as u64 {
        return Err(format!("only {active} journeys are open").into());
    }
    let recorded = || live.self_view().accounting.recorded;
    let (before, start) = (recorded(), Instant::now());
    let mut all = Figures::new();
    let mut add = |name: &str, mut taken: Vec<u64>| {
        all.insert(format!("{name}_p50_ms"), quantile(&mut taken, 0.5) as f64 / 1e6);
        all.insert(format!("{name}_ms"), quantile(&mut taken, 0.99) as f64 / 1e6);
    };
    add("lookup", times(5_000, |turn| live.journey(open[(turn * 7_919) % open.len()].as_str(), None).is_some())?);
    add("summary", times(1_000, |_| !live.summary(None, Window::FiveMinutes).routes.is_empty())?);
    add("metrics", times(500, |_| get(addr, "/metrics").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")))?);
    all.insert("reading_rate".to_owned(), (recorded() - before) as f64 / start.elapsed().as_secs_f64());
    Ok(all)
}

/// Nanoseconds of each turn, with a rest between, so that readers come like people and scrapers do.
fn times(turns: usize, mut turn: impl FnMut(usize) -> bool) -> Result<Vec<u64>> {
    let mut taken = Vec::with_capacity(turns);
    let mut worked = 0;
    for number in 0..turns {
        let start = Instant::now();
        worked += usize::from(turn(number));
        taken.push(start.elapsed().as_nanos() as u64);
        std::thread::sleep(Duration::from_micros(200));
    }
    // An answer that is not there would be cheap for nothing.
    if worked < turns { Err(format!("only {worked} of {turns} reads worked").into()) } else { Ok(taken) }
}

fn get(addr: SocketAddr, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(addr)?;
    stream.set_nodelay(true)?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
