//! The twelve steps of an order: what does each do, and what undoes it?

use journey_store::{Event, TraceContext};

use crate::shop::{Order, Refused, Risk, Shop};

/// One step. The order of the variants is that of the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    ValidateOrder,
    ReserveStock,
    ChooseRoute,
    PriceOrder,
    CheckFraud,
    AuthorisePayment,
    CreateShipment,
    BookCarrier,
    CapturePayment,
    IssueInvoice,
    DispatchOrder,
    NotifyCustomer,
}

impl Step {
    pub(crate) const ALL: [Self; 12] = [
        Self::ValidateOrder,
        Self::ReserveStock,
        Self::ChooseRoute,
        Self::PriceOrder,
        Self::CheckFraud,
        Self::AuthorisePayment,
        Self::CreateShipment,
        Self::BookCarrier,
        Self::CapturePayment,
        Self::IssueInvoice,
        Self::DispatchOrder,
        Self::NotifyCustomer,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ValidateOrder => "validate_order",
            Self::ReserveStock => "reserve_stock",
            Self::ChooseRoute => "choose_route",
            Self::PriceOrder => "price_order",
            Self::CheckFraud => "check_fraud",
            Self::AuthorisePayment => "authorise_payment",
            Self::CreateShipment => "create_shipment",
            Self::BookCarrier => "book_carrier",
            Self::CapturePayment => "capture_payment",
            Self::IssueInvoice => "issue_invoice",
            Self::DispatchOrder => "dispatch_order",
            Self::NotifyCustomer => "notify_customer",
        }
    }

    /// What undoes it; `None` where there is nothing to undo.
    pub(crate) fn undone_by(self) -> Option<&'static str> {
        match self {
            Self::ReserveStock => Some("release_stock"),
            Self::AuthorisePayment => Some("void_authorisation"),
            Self::CreateShipment => Some("cancel_shipment"),
            Self::BookCarrier => Some("cancel_carrier"),
            Self::CapturePayment => Some("refund_payment"),
            Self::IssueInvoice => Some("cancel_invoice"),
            Self::DispatchOrder => Some("recall_order"),
            // The last step: nothing comes after it that could fail. The others only look.
            Self::NotifyCustomer => None,
            Self::ValidateOrder | Self::ChooseRoute | Self::PriceOrder | Self::CheckFraud => None,
        }
    }

    /// Does it. Who refuses has changed nothing.
    pub(crate) async fn run(self, shop: &mut Shop, order: &mut Order, place: &TraceContext) -> Result<(), Refused> {
        self.reach(shop).await;
        match self {
            Self::ValidateOrder => shop.office.validate(order),
            Self::ReserveStock => shop.warehouse.reserve(&order.id, &order.lines),
            Self::ChooseRoute => choose_route(shop, order, place),
            Self::PriceOrder => {
                order.cents = shop.office.price(&order.lines)?;
                Ok(())
            }
            Self::CheckFraud => check_fraud(shop, order, place),
            Self::AuthorisePayment => shop.bank.authorise(&order.id, &order.card, order.cents),
            Self::CreateShipment => shop.warehouse.pack(&order.id, &order.address),
            Self::BookCarrier => shop.carriers.book(&order.id, order.carrier.as_deref().unwrap_or("nobody")),
            Self::CapturePayment => shop.bank.capture(&order.id),
            Self::IssueInvoice => shop.office.invoice(&order.id, order.cents),
            Self::DispatchOrder => shop.warehouse.dispatch(&order.id),
            Self::NotifyCustomer => shop.office.notify(&order.id),
        }
    }

    /// Undoes it, if the shop lets it.
    pub(crate) async fn undo(self, shop: &mut Shop, order: &Order) -> Result<(), Refused> {
        self.reach(shop).await;
        match self {
            Self::ReserveStock => shop.warehouse.release(&order.id),
            Self::AuthorisePayment => shop.bank.void(&order.id),
            Self::CreateShipment => shop.warehouse.unpack(&order.id),
            Self::BookCarrier if shop.warehouse.is_on_its_way(&order.id) => {
                Err(Refused::new("carriers", "the parcel is on its way"))
            }
            Self::BookCarrier => shop.carriers.cancel(&order.id),
            Self::CapturePayment => shop.bank.refund(&order.id),
            Self::IssueInvoice => shop.office.cancel_invoice(&order.id),
            Self::DispatchOrder => shop.warehouse.recall(&order.id, &order.lines),
            Self::ValidateOrder | Self::ChooseRoute | Self::PriceOrder | Self::CheckFraud | Self::NotifyCustomer => {
                Ok(())
            }
        }
    }

    /// The way to whoever does it: the office is next door, the bank is not.
    async fn reach(self, shop: &Shop) {
        let far = match self {
            Self::ValidateOrder | Self::PriceOrder | Self::IssueInvoice | Self::NotifyCustomer => 1,
            Self::ReserveStock | Self::CreateShipment | Self::DispatchOrder => 4,
            Self::ChooseRoute | Self::BookCarrier => 9,
            Self::CheckFraud | Self::AuthorisePayment | Self::CapturePayment => 15,
        };
        // Even the shortest sleep waits for the next tick of the timer.
        if !shop.pace.is_zero() {
            tokio::time::sleep(shop.pace * far).await;
        }
    }
}

fn choose_route(shop: &Shop, order: &mut Order, place: &TraceContext) -> Result<(), Refused> {
    let choice = shop.carriers.choose(order.promised_days)?;
    order.carrier = Some(choice.name.to_owned());
    let decision = Event::decision("shipping_route").chosen(choice.name).reasoning(choice.reasoning);
    let offered = shop.carriers.offers.iter().map(|offer| offer.name);
    place.decide(decision.confidence(choice.confidence).alternatives(offered));
    Ok(())
}

fn check_fraud(shop: &Shop, order: &Order, place: &TraceContext) -> Result<(), Refused> {
    let risk = shop.office.risk(order);
    let decision = Event::decision("fraud_check").chosen(risk.chosen).reasoning(risk.reasoning);
    place.decide(decision.confidence(risk.confidence).alternatives(Risk::CHOICES));
    if risk.score > Risk::REJECT_ABOVE {
        let why = format!("a score of {:.2} is above {:.2}", risk.score, Risk::REJECT_ABOVE);
        return Err(Refused::new("fraud check", why));
    }
    Ok(())
}
