//! How do our hooks stay out of code that they call themselves?

use std::{cell::Cell, marker::PhantomData};

/// While this lives, our hooks on this thread do not look at new spans and events.
pub(crate) struct Hushed {
    before: bool,
    /// Of this thread, and stays here.
    here: PhantomData<*const ()>,
}

thread_local! {
    static HUSHED: Cell<bool> = const { Cell::new(false) };
}

impl Hushed {
    /// Hushes this thread until dropped.
    pub(crate) fn new() -> Self {
        Self { before: HUSHED.replace(true), here: PhantomData }
    }

    /// The same, unless it is hushed already: then a hook was called from inside a hook.
    pub(super) fn unless_hushed() -> Option<Self> {
        (!HUSHED.get()).then(Self::new)
    }
}

impl Drop for Hushed {
    fn drop(&mut self) {
        HUSHED.set(self.before);
    }
}
