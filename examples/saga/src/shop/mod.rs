//! A small shop that is really there: stock, money, parcels and papers, all of which change and change back.
//!
//! | module | question it answers |
//! |---|---|
//! | `warehouse` | what is on the shelves, promised, packed, on its way? |
//! | `carriers` | who brings a parcel in time, and who was booked? |
//! | `bank` | whose money is where? |
//! | `office` | what does it cost, who is the customer, what was written to whom? |

mod bank;
mod carriers;
mod office;
mod warehouse;

use std::{fmt, time::Duration};

pub(crate) use self::{
    bank::Bank,
    carriers::Carriers,
    office::{Office, Risk},
    warehouse::{Line, Warehouse},
};

/// Everything that an order can change.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Shop {
    pub(crate) warehouse: Warehouse,
    pub(crate) carriers: Carriers,
    pub(crate) bank: Bank,
    pub(crate) office: Office,
    /// How long a question to another department takes, at the least.
    pub(crate) pace: Duration,
}

/// What a customer ordered.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) id: String,
    pub(crate) lines: Vec<Line>,
    pub(crate) customer: String,
    /// Secret, as the card is. Neither may ever be in the store.
    pub(crate) password: String,
    pub(crate) card: String,
    pub(crate) address: String,
    /// The customer was promised to have it by then.
    pub(crate) promised_days: u32,
    /// Set by the step that chooses it.
    pub(crate) carrier: Option<String>,
    /// Set by the step that prices it.
    pub(crate) cents: u64,
}

/// Somebody in the shop said no, and nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    who: &'static str,
    why: String,
}

impl Shop {
    /// A shop on a quiet morning.
    pub(crate) fn open(pace: Duration) -> Self {
        Self {
            warehouse: Warehouse::stocked(),
            carriers: Carriers::of_the_day(),
            bank: Bank::open(),
            office: Office::open(),
            pace,
        }
    }
}

impl Order {
    /// What Ada orders.
    pub(crate) fn of_ada(id: String) -> Self {
        Self {
            id,
            lines: vec![Line::new("kettle-8841", 5), Line::new("cup-17", 12)],
            customer: "ada".to_owned(),
            password: office::PASSWORD.to_owned(),
            card: bank::CARD.to_owned(),
            address: "12 Harbour Road".to_owned(),
            promised_days: 2,
            carrier: None,
            cents: 0,
        }
    }
}

impl Refused {
    pub(crate) fn new(who: &'static str, why: impl Into<String>) -> Self {
        Self { who, why: why.into() }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.who, self.why)
    }
}

impl std::error::Error for Refused {}

/// An amount, for people.
pub(crate) fn euros(cents: u64) -> String {
    format!("{}.{:02} EUR", cents / 100, cents % 100)
}
