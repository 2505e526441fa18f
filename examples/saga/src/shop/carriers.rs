//! Who brings a parcel in time, and who was booked?

use std::collections::BTreeMap;

use super::{Refused, euros};

/// The carriers of the day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Carriers {
    pub(crate) offers: Vec<Offer>,
    /// Carrier by order.
    pub(crate) booked: BTreeMap<String, String>,
    pub(crate) pick_up_today: bool,
    pub(crate) may_be_cancelled: bool,
}

/// What one of them offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Offer {
    pub(crate) name: &'static str,
    pub(crate) days: u32,
    cents: u64,
}

/// Which one it shall be, and why.
pub(crate) struct Choice {
    pub(crate) name: &'static str,
    pub(crate) reasoning: String,
    /// Surer, the more days are left over.
    pub(crate) confidence: f64,
}

impl Carriers {
    pub(super) fn of_the_day() -> Self {
        let offer = |name, days, cents| Offer { name, days, cents };
        Self {
            offers: vec![offer("air", 1, 2_890), offer("road", 3, 640), offer("sea", 12, 310)],
            booked: BTreeMap::new(),
            pick_up_today: true,
            may_be_cancelled: true,
        }
    }

    /// The cheapest that is in time.
    pub(crate) fn choose(&self, promised_days: u32) -> Result<Choice, Refused> {
        let in_time = self.offers.iter().filter(|offer| offer.days <= promised_days);
        let Some(best) = in_time.min_by_key(|offer| offer.cents) else {
            let fastest = self.offers.iter().map(|offer| offer.days).min().unwrap_or_default();
            return refused(&format!("promised within {promised_days} days, and the fastest takes {fastest}"));
        };
        let late = self.offers.iter().filter(|offer| offer.days > promised_days).map(|offer| offer.name);
        let late: Vec<&str> = late.collect();
        let reasoning = format!(
            "the cheapest that keeps the promise of {promised_days} days takes {} and costs {}; too late: {}",
            best.days,
            euros(best.cents),
            if late.is_empty() { "none".to_owned() } else { late.join(", ") },
        );
        let left_over = f64::from(promised_days - best.days) / f64::from(promised_days.max(1));
        Ok(Choice { name: best.name, reasoning, confidence: 0.5 + left_over / 2.0 })
    }

    pub(crate) fn book(&mut self, order: &str, carrier: &str) -> Result<(), Refused> {
        if !self.pick_up_today {
            return refused(&format!("{carrier} has no pickup before Monday"));
        }
        self.booked.insert(order.to_owned(), carrier.to_owned());
        Ok(())
    }

    pub(crate) fn cancel(&mut self, order: &str) -> Result<(), Refused> {
        if !self.may_be_cancelled {
            return refused("a pickup of today cannot be cancelled any more");
        }
        match self.booked.remove(order) {
            Some(_) => Ok(()),
            None => refused("nothing is booked for this order"),
        }
    }
}

fn refused<T>(why: &str) -> Result<T, Refused> {
    Err(Refused::new("carriers", why))
}
