//! Whose money is where?

use std::collections::BTreeMap;

use super::{Refused, euros};

/// A number for tests that card schemes publish. It satisfies Luhn's check, as real ones do.
pub(crate) const CARD: &str = "4111 1111 1111 1111";

/// Money, in cents: none appears, none goes away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bank {
    /// What the holders of cards can spend, by card.
    pub(crate) cards: BTreeMap<String, u64>,
    /// What is held for an order, with the card it is from.
    pub(crate) held: BTreeMap<String, (String, u64)>,
    /// What was captured for an order, with the card it is from: the shop's money.
    pub(crate) captured: BTreeMap<String, (String, u64)>,
    pub(crate) takes_cancellations: bool,
    /// More is not captured at once.
    pub(crate) most_captured: u64,
    /// More is not paid back without somebody's approval.
    pub(crate) most_refunded: u64,
}

impl Bank {
    pub(super) fn open() -> Self {
        Self {
            cards: [(CARD.to_owned(), 80_000)].into(),
            held: BTreeMap::new(),
            captured: BTreeMap::new(),
            takes_cancellations: true,
            most_captured: 100_000,
            most_refunded: 100_000,
        }
    }

    pub(crate) fn authorise(&mut self, order: &str, card: &str, cents: u64) -> Result<(), Refused> {
        let left = self.cards.get(card).copied().unwrap_or_default();
        let Some(rest) = left.checked_sub(cents) else {
            // As careless as such messages are: it names the card.
            return refused(format!("card {card} has {} left, not {}", euros(left), euros(cents)));
        };
        self.cards.insert(card.to_owned(), rest);
        self.held.insert(order.to_owned(), (card.to_owned(), cents));
        Ok(())
    }

    /// Gives back what is held.
    pub(crate) fn void(&mut self, order: &str) -> Result<(), Refused> {
        if !self.takes_cancellations {
            return refused("cancellations are taken from 8 to 18 o'clock".to_owned());
        }
        let Some((card, cents)) = self.held.remove(order) else {
            return refused("nothing is held for this order".to_owned());
        };
        *self.cards.entry(card).or_default() += cents;
        Ok(())
    }

    /// Makes what is held the shop's.
    pub(crate) fn capture(&mut self, order: &str) -> Result<(), Refused> {
        match self.held.get(order) {
            None => refused("nothing is held for this order".to_owned()),
            Some((_, cents)) if *cents > self.most_captured => {
                refused(format!("{} are above the limit of {}", euros(*cents), euros(self.most_captured)))
            }
            Some(held) => {
                self.captured.insert(order.to_owned(), held.clone());
                self.held.remove(order);
                Ok(())
            }
        }
    }

    /// Takes a capture back: the money is held again.
    pub(crate) fn refund(&mut self, order: &str) -> Result<(), Refused> {
        match self.captured.get(order) {
            None => refused("nothing was captured for this order".to_owned()),
            Some((_, cents)) if *cents > self.most_refunded => {
                refused(format!("a refund of more than {} needs an approval", euros(self.most_refunded)))
            }
            Some(captured) => {
                self.held.insert(order.to_owned(), captured.clone());
                self.captured.remove(order);
                Ok(())
            }
        }
    }
}

fn refused(why: String) -> Result<(), Refused> {
    Err(Refused::new("bank", why))
}
