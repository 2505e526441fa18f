//! What is on the shelves, promised, packed, on its way?

use std::collections::BTreeMap;

use super::Refused;

/// Some pieces of one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) article: String,
    pub(crate) pieces: u32,
}

/// Where goods are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Warehouse {
    pub(crate) shelves: BTreeMap<String, Shelf>,
    /// By order.
    pub(crate) reserved: BTreeMap<String, Vec<Line>>,
    pub(crate) parcels: BTreeMap<String, Parcel>,
    pub(crate) gate_open: bool,
    /// Stock is being counted: nothing may be put back.
    pub(crate) counting: bool,
    /// Parcels are sealed by customs as soon as they are packed.
    pub(crate) customs_seal: bool,
    /// The lorry drives off as soon as it is loaded.
    pub(crate) lorry_in_a_hurry: bool,
}

/// The pieces of one article.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shelf {
    pub(crate) there: u32,
    /// Of those, promised to an order.
    pub(crate) promised: u32,
}

/// Goods that were packed; on the shelves no more once they are on their way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parcel {
    pub(crate) on_its_way: bool,
}

impl Line {
    pub(crate) fn new(article: &str, pieces: u32) -> Self {
        Self { article: article.to_owned(), pieces }
    }
}

impl Shelf {
    pub(crate) fn free(&self) -> u32 {
        self.there - self.promised
    }
}

impl Warehouse {
    pub(super) fn stocked() -> Self {
        let shelf = |article: &str, there| (article.to_owned(), Shelf { there, promised: 0 });
        Self {
            shelves: [shelf("kettle-8841", 9), shelf("cup-17", 140), shelf("tray-3", 2)].into(),
            reserved: BTreeMap::new(),
            parcels: BTreeMap::new(),
            gate_open: true,
            counting: false,
            customs_seal: false,
            lorry_in_a_hurry: false,
        }
    }

    /// Promises all lines to an order, or none.
    pub(crate) fn reserve(&mut self, order: &str, lines: &[Line]) -> Result<(), Refused> {
        for line in lines {
            let free = self.shelves.get(&line.article).map_or(0, Shelf::free);
            if free < line.pieces {
                return refused(format!("{free} of {} pieces of {} are left", line.pieces, line.article));
            }
        }
        self.on_shelves(lines, |shelf, pieces| shelf.promised += pieces);
        self.reserved.insert(order.to_owned(), lines.to_vec());
        Ok(())
    }

    pub(crate) fn release(&mut self, order: &str) -> Result<(), Refused> {
        if self.counting {
            return refused("stock is being counted, nothing may be put back".to_owned());
        }
        if self.parcels.contains_key(order) {
            return refused("the goods are in a parcel".to_owned());
        }
        let Some(lines) = self.reserved.remove(order) else {
            return refused("nothing is reserved for this order".to_owned());
        };
        self.on_shelves(&lines, |shelf, pieces| shelf.promised -= pieces);
        Ok(())
    }

    pub(crate) fn pack(&mut self, order: &str, address: &str) -> Result<(), Refused> {
        if !address.chars().any(|c| c.is_ascii_digit()) {
            return refused(format!("the address `{address}` has no house number"));
        }
        self.parcels.insert(order.to_owned(), Parcel { on_its_way: false });
        Ok(())
    }

    pub(crate) fn unpack(&mut self, order: &str) -> Result<(), Refused> {
        match self.parcels.get(order) {
            None => refused("there is no parcel of this order".to_owned()),
            Some(parcel) if parcel.on_its_way => refused("the parcel is on its way".to_owned()),
            Some(_) if self.customs_seal => refused("the parcel is sealed by customs".to_owned()),
            Some(_) => {
                self.parcels.remove(order);
                Ok(())
            }
        }
    }

    /// Loads the parcel onto the lorry: it is in the warehouse no more.
    pub(crate) fn dispatch(&mut self, order: &str) -> Result<(), Refused> {
        if !self.gate_open {
            return refused("the gate does not open".to_owned());
        }
        let lines = self.reserved.get(order).cloned();
        let (Some(parcel), Some(lines)) = (self.parcels.get_mut(order), lines) else {
            return refused("there is no parcel of this order".to_owned());
        };
        parcel.on_its_way = true;
        self.reserved.remove(order);
        self.on_shelves(&lines, |shelf, pieces| {
            (shelf.there, shelf.promised) = (shelf.there - pieces, shelf.promised - pieces)
        });
        Ok(())
    }

    pub(crate) fn recall(&mut self, order: &str, lines: &[Line]) -> Result<(), Refused> {
        if self.lorry_in_a_hurry {
            return refused("the lorry has left".to_owned());
        }
        let Some(parcel) = self.parcels.get_mut(order) else {
            return refused("there is no parcel of this order".to_owned());
        };
        parcel.on_its_way = false;
        self.on_shelves(lines, |shelf, pieces| {
            (shelf.there, shelf.promised) = (shelf.there + pieces, shelf.promised + pieces)
        });
        self.reserved.insert(order.to_owned(), lines.to_vec());
        Ok(())
    }

    pub(crate) fn is_on_its_way(&self, order: &str) -> bool {
        self.parcels.get(order).is_some_and(|parcel| parcel.on_its_way)
    }

    fn on_shelves(&mut self, lines: &[Line], change: impl Fn(&mut Shelf, u32)) {
        for line in lines {
            if let Some(shelf) = self.shelves.get_mut(&line.article) {
                change(shelf, line.pieces);
            }
        }
    }
}

fn refused(why: String) -> Result<(), Refused> {
    Err(Refused::new("warehouse", why))
}
