//! What the full screen knows, and what keys and news change. No terminal, no clock, no connection.

use journey_core::{
    Window,
    view::{JourneyView, ListItemView, RouteSummaryView, SummaryView},
};
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use crate::{error::Exit, live::event::Event, look::Look};

/// The most journeys in the list; more than any screen has lines.
pub(crate) const LIST_LIMIT: usize = 200;

/// Keys and what they do: the footer and the help come from here.
pub(crate) const KEYS: [(&str, &str); 9] = [
    ("up/down, j/k", "select a journey, or scroll"),
    ("PgUp/PgDn, Home/End", "the same, further"),
    ("Enter", "open the selected journey"),
    ("Esc, q", "go back; on the first screen: quit"),
    ("s", "all journeys, or only stuck ones"),
    ("w", "window of the figures: 1m, 5m, 15m, 1h, start"),
    ("r", "figures of the next route"),
    ("?", "this help"),
    ("Ctrl-C", "quit"),
];

/// The state behind the full screen.
#[derive(Debug)]
pub(crate) struct App {
    /// Address of the endpoint, for the header.
    pub(crate) url: String,
    /// How output looks here.
    pub(crate) look: Look,
    /// Window of the figures.
    pub(crate) window: Window,
    /// Whether only stuck journeys are listed.
    pub(crate) stuck_only: bool,
    /// Only this route, where the command line says so.
    pub(crate) route: Option<String>,
    /// Only this stage, where the command line says so.
    pub(crate) stage: Option<String>,
    /// Whether figures come in.
    pub(crate) connection: Connection,
    /// Why events do not come in, where they do not although figures do.
    pub(crate) stream_lost: Option<String>,
    /// The newest figures.
    pub(crate) summary: Option<SummaryView>,
    /// The newest list.
    pub(crate) list: Vec<ListItemView>,
    /// Id and generation of the selected journey; it stays selected when the list moves.
    pub(crate) selected: Option<(String, u32)>,
    /// What is shown.
    pub(crate) screen: Screen,
    /// Whether the keys are shown above it.
    pub(crate) help: bool,
    /// Which of several routes the figures are of.
    route_index: usize,
    /// Lines that a page has; the drawing tells.
    pub(crate) page: usize,
}

/// What is shown.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Screen {
    /// Figures and the list.
    #[default]
    Overview,
    /// One journey.
    Journey(Opened),
}

/// A journey that was opened.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Opened {
    /// Its id.
    pub(crate) id: String,
    /// Its generation.
    pub(crate) generation: u32,
    /// The journey, once it came.
    pub(crate) view: Option<Box<JourneyView>>,
    /// Why it did not come.
    pub(crate) problem: Option<String>,
    /// First line shown.
    pub(crate) scroll: usize,
}

/// Whether figures come in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Connection {
    /// Not yet.
    #[default]
    Waiting,
    /// Yes.
    Up,
    /// No more, and why.
    Lost(String),
}

/// What comes in from outside.
#[derive(Debug)]
pub(crate) enum Data {
    /// Figures.
    Summary(Box<SummaryView>),
    /// Journeys, for the list of all or of stuck ones.
    List {
        /// Which list was asked for.
        stuck_only: bool,
        /// The journeys.
        journeys: Vec<ListItemView>,
    },
    /// The journey that was asked for, or why it cannot be shown.
    Journey {
        /// Which id was asked for.
        id: String,
        /// Which generation.
        generation: u32,
        /// What came.
        result: Result<Box<JourneyView>, String>,
    },
    /// Asking failed.
    Failed(String),
    /// Something happened.
    Event(Event),
    /// The stream is open.
    StreamUp,
    /// The stream is gone.
    StreamLost(String),
}

/// What is to be done after a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing.
    Stay,
    /// Ask for figures again, as [`App::ask`] says.
    Ask,
    /// End.
    Quit(Exit),
}

/// What to ask the endpoint for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ask {
    /// Window of the figures.
    pub(crate) window: Window,
    /// Only stuck journeys.
    pub(crate) stuck_only: bool,
    /// Only this route.
    pub(crate) route: Option<String>,
    /// Only this stage.
    pub(crate) stage: Option<String>,
    /// Id and generation of the opened journey.
    pub(crate) open: Option<(String, u32)>,
}

impl App {
    /// Starts with nothing known.
    pub(crate) fn new(url: &str, look: Look, route: Option<String>, stage: Option<String>) -> Self {
        Self {
            url: url.to_owned(),
            look,
            window: Window::default(),
            stuck_only: false,
            route,
            stage,
            connection: Connection::default(),
            stream_lost: None,
            summary: None,
            list: Vec::new(),
            selected: None,
            screen: Screen::default(),
            help: false,
            route_index: 0,
            page: 10,
        }
    }

    /// What to ask for now.
    pub(crate) fn ask(&self) -> Ask {
        let open = match &self.screen {
            Screen::Journey(opened) => Some((opened.id.clone(), opened.generation)),
            Screen::Overview => None,
        };
        Ask {
            window: self.window,
            stuck_only: self.stuck_only,
            route: self.route.clone(),
            stage: self.stage.clone(),
            open,
        }
    }

    /// The route whose figures are shown.
    pub(crate) fn shown_route(&self) -> Option<&RouteSummaryView> {
        let routes = &self.summary.as_ref()?.routes;
        routes.get(self.route_index % routes.len().max(1))
    }

    /// Place of the selected journey in the list; the first where it is gone.
    pub(crate) fn selected_index(&self) -> usize {
        let selected = self.selected.as_ref();
        self.list.iter().position(|journey| selected.is_some_and(|selected| is(journey, selected))).unwrap_or(0)
    }

    /// Takes a key.
    pub(crate) fn on_key(&mut self, key: KeyEvent) -> Next {
        if key.kind == KeyEventKind::Release {
            return Next::Stay;
        }
        if key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL) {
            return Next::Quit(Exit::Interrupted);
        }
        match key.code {
            KeyCode::Esc | KeyCode::Char('q') => return self.back(),
            KeyCode::Char('?') => self.help = !self.help,
            KeyCode::Char('w') => {
                let place = Window::ALL.iter().position(|window| *window == self.window).unwrap_or(0);
                self.window = Window::ALL[(place + 1) % Window::ALL.len()];
                return Next::Ask;
            }
            KeyCode::Char('s') => {
                self.stuck_only = !self.stuck_only;
                self.list.clear();
                self.selected = None;
                self.screen = Screen::Overview;
                return Next::Ask;
            }
            KeyCode::Char('r') => self.route_index = self.route_index.wrapping_add(1),
            KeyCode::Enter => return self.open(),
            KeyCode::Up | KeyCode::Char('k') => self.go(-1),
            KeyCode::Down | KeyCode::Char('j') => self.go(1),
            KeyCode::PageUp => self.go(-self.page_lines()),
            KeyCode::PageDown | KeyCode::Char(' ') => self.go(self.page_lines()),
            KeyCode::Home | KeyCode::Char('g') => self.go(isize::MIN),
            KeyCode::End | KeyCode::Char('G') => self.go(isize::MAX),
            _ => {}
        }
        Next::Stay
    }

    /// Takes news. Answers to what is no longer asked are ignored.
    pub(crate) fn on_data(&mut self, data: Data) {
        match data {
            Data::Summary(summary) => {
                self.connection = Connection::Up;
                if summary.window == self.window.as_str() || self.summary.is_none() {
                    self.summary = Some(*summary);
                }
            }
            Data::List { stuck_only, journeys } if stuck_only == self.stuck_only => self.list = journeys,
            Data::List { .. } => {}
            Data::Journey { id, generation, result } => {
                let Screen::Journey(opened) = &mut self.screen else { return };
                if (opened.id.as_str(), opened.generation) != (id.as_str(), generation) {
                    return;
                }
                match result {
                    Ok(view) => (opened.view, opened.problem) = (Some(view), None),
                    // What was shown stays readable when the server has forgotten it.
                    Err(problem) => opened.problem = Some(problem),
                }
            }
            Data::Failed(why) => self.connection = Connection::Lost(why),
            Data::Event(event) => self.on_event(event),
            Data::StreamUp => self.stream_lost = None,
            Data::StreamLost(why) => self.stream_lost = Some(why),
        }
    }

    /// Brings the list up to date between two answers, so that news show at once.
    fn on_event(&mut self, event: Event) {
        match event {
            Event::Checkpoint(seen) => {
                let known = self.list.iter_mut().find(|known| is_of(known, &seen.correlation_id, seen.generation));
                match known {
                    // What comes after the end changes nothing that the list shows.
                    Some(known) if known.status != "active" => {}
                    Some(known) => {
                        known.stuck = false;
                        known.idle_ms = known.idle_ms.map(|_| 0.0);
                        if seen.outcome == "reached" {
                            known.stage = seen.stage;
                        }
                    }
                    None if !self.stuck_only => self.add(ListItemView {
                        correlation_id: seen.correlation_id,
                        generation: seen.generation,
                        route: seen.route,
                        status: "active".to_owned(),
                        started_at: Some(seen.at),
                        stage: seen.stage,
                        idle_ms: Some(0.0),
                        ..ListItemView::default()
                    }),
                    None => {}
                }
            }
            Event::Journey(view) => {
                let known = self.list.iter_mut().find(|known| is_of(known, &view.correlation_id, view.generation));
                if let Some(known) = known {
                    (known.stuck, known.idle_ms) = (false, None);
                    known.status.clone_from(&view.status);
                    known.reason.clone_from(&view.reason);
                    known.total_ms = view.total_ms;
                    if let Some(last) = view.checkpoints.iter().rfind(|seen| seen.outcome == "reached") {
                        known.stage.clone_from(&last.stage);
                    }
                }
                if let Screen::Journey(opened) = &mut self.screen
                    && (&opened.id, opened.generation) == (&view.correlation_id, view.generation)
                {
                    opened.view = Some(view);
                }
            }
            Event::Stuck(stuck) => {
                // The event names no generation: only the newest journey of an id can be active.
                let known = self.list.iter_mut().find(|known| known.correlation_id == stuck.correlation_id);
                if let Some(known) = known.filter(|known| known.status == "active") {
                    (known.stuck, known.idle_ms) = (true, Some(stuck.idle_ms));
                }
            }
            Event::Lagged(_) | Event::Reset(_) | Event::Heartbeat | Event::Unknown(_) => {}
        }
    }

    fn add(&mut self, journey: ListItemView) {
        self.list.insert(0, journey);
        self.list.truncate(LIST_LIMIT);
    }

    fn back(&mut self) -> Next {
        if std::mem::take(&mut self.help) {
            return Next::Stay;
        }
        if self.screen == Screen::Overview {
            return Next::Quit(Exit::Ok);
        }
        self.screen = Screen::Overview;
        Next::Stay
    }

    fn open(&mut self) -> Next {
        if self.help || self.screen != Screen::Overview {
            return Next::Stay;
        }
        let Some(journey) = self.list.get(self.selected_index()) else { return Next::Stay };
        let (id, generation) = (journey.correlation_id.clone(), journey.generation);
        self.selected = Some((id.clone(), generation));
        self.screen = Screen::Journey(Opened { id, generation, ..Opened::default() });
        Next::Ask
    }

    fn go(&mut self, lines: isize) {
        match &mut self.screen {
            // The drawing holds it at the last page.
            Screen::Journey(opened) => opened.scroll = opened.scroll.saturating_add_signed(lines),
            Screen::Overview => {
                let last = self.list.len().saturating_sub(1);
                let index = self.selected_index().saturating_add_signed(lines).min(last);
                self.selected =
                    self.list.get(index).map(|journey| (journey.correlation_id.clone(), journey.generation));
            }
        }
    }

    fn page_lines(&self) -> isize {
        isize::try_from(self.page.max(1)).unwrap_or(1)
    }
}

fn is(journey: &ListItemView, selected: &(String, u32)) -> bool {
    is_of(journey, &selected.0, selected.1)
}

fn is_of(journey: &ListItemView, id: &str, generation: u32) -> bool {
    journey.correlation_id == id && journey.generation == generation
}

#[cfg(test)]
mod tests {
    use journey_core::{CheckpointEvent, view::StuckView};

    use super::*;

    const LOOK: Look = Look { width: 100, color: false, unicode: true };

    fn app(ids: &[&str]) -> App {
        let mut app = App::new("http://127.0.0.1:7117", LOOK, None, None);
        app.on_data(Data::List { stuck_only: false, journeys: ids.iter().map(|id| journey(id)).collect() });
        app
    }

    fn journey(id: &str) -> ListItemView {
        let status = "active".to_owned();
        ListItemView {
            correlation_id: id.to_owned(),
            generation: 1,
            status,
            stage: "T1".into(),
            ..ListItemView::default()
        }
    }

    fn press(app: &mut App, code: KeyCode) -> Next {
        app.on_key(KeyEvent::from(code))
    }

    fn ids(app: &App) -> Vec<&str> {
        app.list.iter().map(|journey| journey.correlation_id.as_str()).collect()
    }

    #[test]
    fn a_selected_journey_stays_selected_when_the_list_moves() {
        let mut app = app(&["a", "b", "c"]);
        press(&mut app, KeyCode::Down);
        press(&mut app, KeyCode::Char('j'));
        press(&mut app, KeyCode::Up);
        assert_eq!(app.selected, Some(("b".to_owned(), 1)));
        app.on_data(Data::List { stuck_only: false, journeys: ["new", "a", "b"].map(journey).into() });
        assert_eq!(app.selected_index(), 2);
        press(&mut app, KeyCode::End);
        press(&mut app, KeyCode::Down);
        assert_eq!(app.selected_index(), 2);
        press(&mut app, KeyCode::Home);
        press(&mut app, KeyCode::PageUp);
        assert_eq!(app.selected_index(), 0);
    }

    #[test]
    fn an_opened_journey_is_asked_for_and_shown_and_left() {
        let mut app = app(&["a", "b"]);
        press(&mut app, KeyCode::Down);
        assert_eq!(press(&mut app, KeyCode::Enter), Next::Ask);
        assert_eq!(app.ask().open, Some(("b".to_owned(), 1)));
        let other = Data::Journey { id: "a".into(), generation: 1, result: Ok(Box::default()) };
        app.on_data(other);
        assert!(matches!(&app.screen, Screen::Journey(opened) if opened.view.is_none()));
        app.on_data(Data::Journey { id: "b".into(), generation: 1, result: Ok(Box::default()) });
        app.on_data(Data::Journey { id: "b".into(), generation: 1, result: Err("gone".into()) });
        assert!(
            matches!(&app.screen, Screen::Journey(opened) if opened.view.is_some() && opened.problem.as_deref() == Some("gone"))
        );
        assert_eq!(press(&mut app, KeyCode::Esc), Next::Stay);
        assert_eq!((press(&mut app, KeyCode::Char('q')), app.ask().open), (Next::Quit(Exit::Ok), None));
    }

    #[test]
    fn keys_change_window_and_list_and_ask_again() {
        let mut app = app(&["a"]);
        assert_eq!(press(&mut app, KeyCode::Char('w')), Next::Ask);
        assert_eq!(app.ask().window, Window::QuarterHour);
        for _ in 0..4 {
            press(&mut app, KeyCode::Char('w'));
        }
        assert_eq!(app.window, Window::FiveMinutes);
        assert_eq!(press(&mut app, KeyCode::Char('s')), Next::Ask);
        assert!(app.ask().stuck_only && app.list.is_empty());
        app.on_data(Data::List { stuck_only: false, journeys: vec![journey("late answer")] });
        assert!(app.list.is_empty());
        press(&mut app, KeyCode::Char('?'));
        assert!(app.help);
        assert_eq!(press(&mut app, KeyCode::Enter), Next::Stay);
        assert_eq!(press(&mut app, KeyCode::Char('q')), Next::Stay);
        assert_eq!((app.help, &app.screen), (false, &Screen::Overview));
        let ctrl_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(app.on_key(ctrl_c), Next::Quit(Exit::Interrupted));
    }

    #[test]
    fn nothing_to_open_opens_nothing() {
        let mut app = app(&[]);
        assert_eq!((press(&mut app, KeyCode::Enter), press(&mut app, KeyCode::Down)), (Next::Stay, Next::Stay));
        assert_eq!(app.screen, Screen::Overview);
    }

    #[test]
    fn news_show_before_the_next_answer() {
        let mut app = app(&["a"]);
        let seen = |id: &str, stage: &str, outcome: &str| {
            Data::Event(Event::Checkpoint(CheckpointEvent {
                correlation_id: id.into(),
                generation: 1,
                stage: stage.into(),
                outcome: outcome.into(),
                ..CheckpointEvent::default()
            }))
        };
        app.on_data(seen("a", "T2", "reached"));
        app.on_data(seen("a", "T3", "failed"));
        app.on_data(seen("b", "T0", "reached"));
        assert_eq!((ids(&app), app.list[1].stage.as_str()), (vec!["b", "a"], "T2"));
        let stuck = StuckView { correlation_id: "a".into(), idle_ms: 31_000.0, ..StuckView::default() };
        app.on_data(Data::Event(Event::Stuck(stuck.clone())));
        assert!(app.list[1].stuck);
        let view = JourneyView {
            correlation_id: "a".into(),
            generation: 1,
            status: "completed".into(),
            total_ms: Some(7.0),
            ..JourneyView::default()
        };
        app.on_data(Data::Event(Event::Journey(Box::new(view))));
        app.on_data(Data::Event(Event::Stuck(stuck)));
        let a = &app.list[1];
        assert_eq!((a.status.as_str(), a.stuck, a.total_ms), ("completed", false, Some(7.0)));
        for number in 0..2 * LIST_LIMIT {
            app.on_data(seen(&format!("flood_{number}"), "T0", "reached"));
        }
        assert_eq!(app.list.len(), LIST_LIMIT);
    }

    #[test]
    fn a_lost_connection_is_known_until_figures_come_again() {
        let mut app = app(&[]);
        app.on_data(Data::Failed("nothing listens".into()));
        assert_eq!(app.connection, Connection::Lost("nothing listens".into()));
        app.on_data(Data::Summary(Box::new(SummaryView { window: "5m".into(), ..SummaryView::default() })));
        assert_eq!(app.connection, Connection::Up);
        app.on_data(Data::Summary(Box::new(SummaryView { window: "1h".into(), ..SummaryView::default() })));
        assert_eq!(app.summary.as_ref().unwrap().window, "5m");
    }
}
