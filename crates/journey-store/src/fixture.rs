//! An order of twelve steps as events, for tests, benchmarks and documentation: what does a trace look like that failed
//! at a chosen step, was compensated in reverse order, and could not be compensated in one place?

use serde_json::{Map, Value, json};

use crate::event::{Event, EventStatus, SpanId, TraceId};

/// 2026-11-20 10:00:00 UTC, unix nanoseconds.
const BEGIN: i64 = 1_795_168_800_000_000_000;
const MILLI: i64 = 1_000_000;

/// The order workflow. With the default nothing fails; where a step fails, undoing `reserve_stock` fails too.
#[derive(Clone, Debug)]
pub struct Saga {
    /// Number of the step that fails, 1 to 12; `None`: none.
    pub fails_at: Option<usize>,
    /// Numbers of the steps that cannot be undone.
    pub cannot_undo: Vec<usize>,
    /// Numbers of the steps that nobody undoes.
    pub not_undone: Vec<usize>,
    /// The trace, by number; 0 is none, and has no events.
    pub trace: u128,
    /// When it begins, unix nanoseconds.
    pub begin: i64,
    /// The order; correlation id, data and tags come from it.
    pub order: u32,
    /// The emitter of all events.
    pub emitter: u64,
}

/// One step of the order.
struct Step {
    name: &'static str,
    /// Milliseconds.
    takes: i64,
    /// Name of the work that undoes it.
    undone_by: Option<&'static str>,
    /// How it fails.
    error: (&'static str, &'static str),
}

const fn step(
    name: &'static str,
    takes: i64,
    undone_by: Option<&'static str>,
    error: (&'static str, &'static str),
) -> Step {
    Step { name, takes, undone_by, error }
}

/// The steps in order. Steps 3 and 5 decide.
const STEPS: [Step; 12] = [
    step("validate_order", 4, None, ("InvalidOrder", "line 3 has a quantity of 0")),
    step("reserve_stock", 38, Some("release_stock"), ("OutOfStock", "2 of 5 left of SKU 8841")),
    step("choose_shipping_route", 410, None, ("ModelTimeout", "no answer within 400 ms")),
    step("price_order", 12, None, ("NoPrice", "SKU 8841 has no price in EUR")),
    step("check_fraud", 520, None, ("FraudSuspected", "score 0.94 is above 0.9")),
    step("authorise_payment", 230, Some("void_authorisation"), ("CardDeclined", "insufficient funds")),
    step("create_shipment", 61, Some("cancel_shipment"), ("AddressRejected", "no such house number")),
    step("book_carrier", 340, Some("cancel_carrier"), ("CarrierUnavailable", "no pickup before Monday")),
    step("capture_payment", 180, Some("refund_payment"), ("PaymentTimeout", "no answer from the bank within 180 ms")),
    step("issue_invoice", 25, Some("cancel_invoice"), ("LedgerLocked", "period 2026-11 is closed")),
    step("dispatch_order", 90, Some("recall_order"), ("WarehouseOffline", "connection refused by warehouse-2")),
    step("notify_customer", 15, None, ("MailboxFull", "552 mailbox is full")),
];

impl Default for Saga {
    fn default() -> Self {
        Self {
            fails_at: None,
            cannot_undo: vec![2],
            not_undone: Vec::new(),
            trace: 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736,
            begin: BEGIN,
            order: 1042,
            emitter: 7,
        }
    }
}

impl Saga {
    /// How many steps there are.
    pub const STEPS: usize = STEPS.len();

    /// All events, in order.
    pub fn events(&self) -> Vec<Event> {
        let mut told = Told { saga: self, now: self.begin, events: Vec::new() };
        told.tell();
        told.events
    }
}

struct Told<'s> {
    saga: &'s Saga,
    now: i64,
    events: Vec<Event>,
}

const WORKFLOW: u64 = 0x1000;

impl Told<'_> {
    fn tell(&mut self) {
        let order = json!({"name": "order", "order_id": format!("order-{}", self.saga.order), "customer_id": "c-77"});
        self.say(WORKFLOW, None, "workflow:started", EventStatus::Pending, None, order);
        let mut failed = None;
        for (number, step) in (1..).zip(&STEPS) {
            self.now += MILLI;
            if self.work(number, step) == EventStatus::Failed {
                failed = Some((number, step));
                break;
            }
        }
        let Some((number, step)) = failed else {
            self.now += MILLI;
            let duration = self.now - self.saga.begin;
            self.say(
                WORKFLOW,
                None,
                "workflow:completed",
                EventStatus::Success,
                Some(duration),
                json!({"name": "order"}),
            );
            return;
        };
        for (number, step) in (1..number).zip(&STEPS).rev() {
            self.undo(number, step);
        }
        self.now += MILLI;
        let duration = self.now - self.saga.begin;
        let end = json!({"name": "order", "error": error(step.error)});
        self.say(WORKFLOW, None, "workflow:failed", EventStatus::Failed, Some(duration), end);
    }

    fn work(&mut self, number: usize, step: &Step) -> EventStatus {
        let span = WORKFLOW + number as u64;
        let mut data = json!({"name": step.name, "step": number});
        if step.undone_by.is_none() {
            data["compensable"] = Value::Bool(false);
        }
        self.say(span, Some(WORKFLOW), "stage:started", EventStatus::Pending, None, data.clone());
        let took = step.takes * MILLI;
        self.now += took;
        if self.saga.fails_at == Some(number) {
            data["error"] = error(step.error);
            self.say(span, Some(WORKFLOW), "stage:failed", EventStatus::Failed, Some(took), data);
            return EventStatus::Failed;
        }
        if let Some(decision) = decision(number) {
            self.say(span + 0x100, Some(span), "ai:decision", EventStatus::Success, None, decision);
        }
        self.now += 5_000;
        self.say(span, Some(WORKFLOW), "stage:completed", EventStatus::Success, Some(took + 5_000), data);
        EventStatus::Success
    }

    fn undo(&mut self, number: usize, step: &Step) {
        let Some(name) = step.undone_by.filter(|_| !self.saga.not_undone.contains(&number)) else { return };
        self.now += MILLI;
        let (span, original) = (WORKFLOW + 0x200 + number as u64, SpanId::new(WORKFLOW + number as u64));
        let mut data = json!({"name": name, "compensates": original.map(|span| span.to_string())});
        self.say(span, Some(WORKFLOW), "saga:compensating", EventStatus::Pending, None, data.clone());
        let took = (20 + 10 * number as i64) * MILLI;
        self.now += took;
        if self.saga.cannot_undo.contains(&number) {
            data["error"] = error(("WarehouseTimeout", "warehouse-2 did not answer"));
            self.say(span, Some(WORKFLOW), "saga:compensation_failed", EventStatus::Failed, Some(took), data);
        } else {
            self.say(span, Some(WORKFLOW), "saga:compensated", EventStatus::Success, Some(took), data);
        }
    }

    fn say(
        &mut self,
        span: u64,
        parent: Option<u64>,
        event_type: &str,
        status: EventStatus,
        duration: Option<i64>,
        data: Value,
    ) {
        let (Some(trace_id), Some(span_id)) = (TraceId::new(self.saga.trace), SpanId::new(span)) else { return };
        let mut event = Event::new(trace_id, span_id, event_type, self.now);
        event.parent_span_id = parent.and_then(SpanId::new);
        event.correlation_id = Some(format!("order-{}", self.saga.order));
        event.emitter = self.saga.emitter;
        event.seq = self.events.len() as u64 + 1;
        event.status = status;
        event.duration = duration;
        event.route = Some("order".to_owned());
        event.tags.insert("tenant".to_owned(), "acme".to_owned());
        event.data = match data {
            Value::Object(data) => data,
            _ => Map::new(),
        };
        self.events.push(event);
    }
}

fn error((error_type, message): (&str, &str)) -> Value {
    json!({"type": error_type, "message": message})
}

fn decision(number: usize) -> Option<Value> {
    match number {
        3 => Some(json!({"decision": "shipping_route", "chosen": "air", "confidence": 0.82,
            "reasoning": "promised within two days and the road takes three", "alternatives": ["air", "road", "sea"]})),
        5 => Some(json!({"decision": "fraud_check", "chosen": "pass", "confidence": 0.61,
            "reasoning": "score 0.38, known customer, new address", "alternatives": ["pass", "review", "reject"]})),
        _ => None,
    }
}
