//! What is wrong in the shop, so that a chosen step fails or cannot be undone? The steps know nothing of it: they find out.

use crate::{
    shop::{Order, Shop},
    steps::Step,
};

/// Lets this step fail, and none before it.
pub(crate) fn let_it_fail(step: Step, shop: &mut Shop, order: &mut Order) {
    match step {
        Step::ValidateOrder => order.lines.iter_mut().for_each(|line| line.pieces = 0),
        Step::ReserveStock => shop.warehouse.shelves.values_mut().for_each(|shelf| shelf.there = 2),
        Step::ChooseRoute => shop.carriers.offers.iter_mut().for_each(|offer| offer.days += 3),
        Step::PriceOrder => shop.office.prices.clear(),
        Step::CheckFraud => shop.office.customer.chargebacks = 3,
        Step::AuthorisePayment => shop.bank.cards.values_mut().for_each(|cents| *cents = 1_250),
        Step::CreateShipment => order.address = "Harbour Road".to_owned(),
        Step::BookCarrier => shop.carriers.pick_up_today = false,
        Step::CapturePayment => shop.bank.most_captured = 20_000,
        Step::IssueInvoice => shop.office.period_open = false,
        Step::DispatchOrder => shop.warehouse.gate_open = false,
        Step::NotifyCustomer => shop.office.mailbox_full = true,
    }
}

/// Lets nobody undo this step. What can only be undone after it cannot be undone either.
pub(crate) fn let_it_stay(step: Step, shop: &mut Shop) {
    match step {
        Step::ReserveStock => shop.warehouse.counting = true,
        Step::AuthorisePayment => shop.bank.takes_cancellations = false,
        Step::CreateShipment => shop.warehouse.customs_seal = true,
        Step::BookCarrier => shop.carriers.may_be_cancelled = false,
        Step::CapturePayment => shop.bank.most_refunded = 10_000,
        Step::IssueInvoice => shop.office.may_cancel = false,
        Step::DispatchOrder => shop.warehouse.lorry_in_a_hurry = true,
        Step::ValidateOrder | Step::ChooseRoute | Step::PriceOrder | Step::CheckFraud | Step::NotifyCustomer => {}
    }
}
