//! What does it cost, who is the customer, what was written to whom?

use std::collections::BTreeMap;

use super::{Line, Order, Refused, euros};

/// What Ada logs in with.
pub(crate) const PASSWORD: &str = "correct-horse-battery";

/// The office with its books.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Office {
    /// Cents by article.
    pub(crate) prices: BTreeMap<String, u64>,
    pub(crate) customer: Customer,
    /// Never removed: one that does not hold is cancelled by another.
    pub(crate) invoices: Vec<Invoice>,
    pub(crate) period_open: bool,
    /// Whether the auditors let anybody cancel.
    pub(crate) may_cancel: bool,
    pub(crate) mails: Vec<String>,
    pub(crate) mailbox_full: bool,
}

/// What is known of whoever orders.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Customer {
    pub(crate) known_address: String,
    pub(crate) usual_cents: u64,
    pub(crate) chargebacks: u32,
}

/// A line in the books.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Invoice {
    pub(crate) order: String,
    /// Below zero where it cancels another.
    pub(crate) cents: i64,
}

/// How likely it is that somebody cheats.
pub(crate) struct Risk {
    /// From 0 to 1.
    pub(crate) score: f64,
    pub(crate) chosen: &'static str,
    pub(crate) reasoning: String,
    /// Surer, the farther the score is from the next threshold.
    pub(crate) confidence: f64,
}

impl Risk {
    pub(crate) const CHOICES: [&str; 3] = ["pass", "review", "reject"];
    const REVIEW_ABOVE: f64 = 0.6;
    pub(crate) const REJECT_ABOVE: f64 = 0.9;
}

impl Office {
    pub(super) fn open() -> Self {
        let price = |article: &str, cents| (article.to_owned(), cents);
        Self {
            prices: [price("kettle-8841", 3_490), price("cup-17", 420), price("tray-3", 1_990)].into(),
            customer: Customer { known_address: "3 Mill Lane".to_owned(), usual_cents: 6_000, chargebacks: 0 },
            invoices: Vec::new(),
            period_open: true,
            may_cancel: true,
            mails: Vec::new(),
            mailbox_full: false,
        }
    }

    pub(crate) fn validate(&self, order: &Order) -> Result<(), Refused> {
        match order.lines.iter().find(|line| line.pieces == 0) {
            Some(line) => refused(format!("the order has 0 pieces of {}", line.article)),
            None if order.lines.is_empty() => refused("the order has no lines".to_owned()),
            None => Ok(()),
        }
    }

    pub(crate) fn price(&self, lines: &[Line]) -> Result<u64, Refused> {
        lines.iter().try_fold(0, |sum, line| match self.prices.get(&line.article) {
            Some(cents) => Ok(sum + cents * u64::from(line.pieces)),
            None => refused(format!("{} has no price", line.article)),
        })
    }

    pub(crate) fn risk(&self, order: &Order) -> Risk {
        let new_address = order.address != self.customer.known_address;
        let unusual = order.cents > 3 * self.customer.usual_cents;
        let chargebacks = self.customer.chargebacks;
        let parts = [(0.05, true), (0.2, new_address), (0.25, unusual)];
        let score: f64 = parts.into_iter().filter(|(_, holds)| *holds).map(|(part, _)| part).sum();
        let score = (score + 0.3 * f64::from(chargebacks)).min(0.99);
        let chosen = match score {
            _ if score > Risk::REJECT_ABOVE => "reject",
            _ if score > Risk::REVIEW_ABOVE => "review",
            _ => "pass",
        };
        let distance =
            [Risk::REVIEW_ABOVE, Risk::REJECT_ABOVE].map(|at| (score - at).abs()).into_iter().fold(1.0, f64::min);
        let reasoning = format!(
            "score {score:.2}: {} address, {} where {} are usual, {chargebacks} chargebacks",
            if new_address { "new" } else { "known" },
            euros(order.cents),
            euros(self.customer.usual_cents),
        );
        Risk { score, chosen, reasoning, confidence: (50.0 + 100.0 * distance).round().min(99.0) / 100.0 }
    }

    pub(crate) fn invoice(&mut self, order: &str, cents: u64) -> Result<(), Refused> {
        if !self.period_open {
            return refused("the month is closed in the books".to_owned());
        }
        self.invoices.push(Invoice { order: order.to_owned(), cents: cents.cast_signed() });
        Ok(())
    }

    /// Writes a second one that takes back the first.
    pub(crate) fn cancel_invoice(&mut self, order: &str) -> Result<(), Refused> {
        if !self.may_cancel {
            return refused("the auditors do not let anybody cancel invoices today".to_owned());
        }
        match self.invoiced(order) {
            0 => refused("there is no open invoice of this order".to_owned()),
            cents => {
                self.invoices.push(Invoice { order: order.to_owned(), cents: -cents });
                Ok(())
            }
        }
    }

    /// What an order owes by the books.
    pub(crate) fn invoiced(&self, order: &str) -> i64 {
        self.invoices.iter().filter(|invoice| invoice.order == order).map(|invoice| invoice.cents).sum()
    }

    pub(crate) fn notify(&mut self, order: &str) -> Result<(), Refused> {
        if self.mailbox_full {
            return refused("552 the mailbox is full".to_owned());
        }
        self.mails.push(format!("{order} is on its way"));
        Ok(())
    }
}

fn refused<T>(why: String) -> Result<T, Refused> {
    Err(Refused::new("office", why))
}
