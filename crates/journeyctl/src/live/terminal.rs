//! The full screen on a real terminal: taken, kept up to date, and given back however this ends.

use std::{
    sync::mpsc::{RecvTimeoutError, SyncSender, TryRecvError, sync_channel},
    thread,
    time::Duration,
};

use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event as TerminalEvent, KeyEvent},
};

use crate::{
    cli::LiveArgs,
    client::Client,
    commands::SUMMARY_PATH,
    error::{CliError, Exit},
    live::{
        STREAM_PATH,
        app::{App, Data, Next},
        borrowed, draw,
        event::Event,
        poll::poll,
        query,
    },
    look::Look,
    signals::Stop,
    sse::{Update, follow},
};

/// How often a wish to stop is looked for.
const LOOK_UP: Duration = Duration::from_millis(100);
/// News on their way; when it is full the stream is read no faster than we draw.
const WAITING: usize = 1_024;

/// What wakes the screen.
#[derive(Debug)]
pub(crate) enum News {
    /// A key was pressed.
    Key(KeyEvent),
    /// The terminal has another size.
    Resized,
    /// The terminal is gone.
    NoInput(String),
    /// Something came in.
    Data(Data),
    /// There is no use in going on.
    Fatal(CliError),
}

/// The terminal while we have it; dropping it gives it back. A panic gives it back before its message.
struct Taken(DefaultTerminal);

impl Drop for Taken {
    fn drop(&mut self) {
        let _ = ratatui::try_restore();
    }
}

/// Shows the full screen until stopped.
///
/// # Errors
///
/// Nobody answers at the start, the server refuses, or the terminal fails.
pub(crate) fn run(client: Client, args: &LiveArgs, look: &Look, stop: &Stop) -> Result<Exit, CliError> {
    // Asked before the screen is taken, so that "nothing listens" stays readable.
    let mut app = App::new(client.base(), *look, args.route.clone(), args.stage.clone());
    let route: Vec<(&str, &str)> = args.route.iter().map(|route| ("route", route.as_str())).collect();
    client.get(SUMMARY_PATH, &route)?;
    let query = query(args);

    let (sender, news) = sync_channel(WAITING);
    let (asks, asked) = sync_channel(16);
    let first_ask = app.ask();
    let follower = (client.clone(), sender.clone());
    thread::spawn(move || {
        let open = |last: Option<&str>| follower.0.stream(STREAM_PATH, &borrowed(&query), last);
        follow(open, true, |update| pass_on(update, &follower.1));
    });
    let keys = sender.clone();
    let poller = thread::spawn(move || poll(&client, first_ask, &asked, &sender));

    let mut terminal = Taken(ratatui::try_init()?);
    thread::spawn(move || read_keys(&keys));
    loop {
        terminal.0.draw(|frame| draw::draw(&mut app, frame))?;
        if let Some(exit) = stop.asked() {
            return Ok(exit);
        }
        if poller.is_finished() {
            return Err(CliError::new(Exit::Unexpected, "asking for figures ended unexpectedly"));
        }
        let mut next = match news.recv_timeout(LOOK_UP) {
            Ok(news) => Ok(news),
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => Err(TryRecvError::Disconnected),
        };
        // Everything that has come is taken before the next drawing, at most what may wait at once.
        for _ in 0..WAITING {
            let news_item = match next {
                Ok(item) => item,
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return Ok(Exit::Ok),
            };
            match news_item {
                News::Key(key) => match app.on_key(key) {
                    Next::Stay => {}
                    // A full queue holds an ask already; the poller takes the newest state with the next key or second.
                    Next::Ask => drop(asks.try_send(app.ask())),
                    Next::Quit(exit) => return Ok(exit),
                },
                News::Resized => {}
                News::NoInput(why) => return Err(CliError::new(Exit::Unexpected, format!("cannot read keys: {why}"))),
                News::Data(data) => app.on_data(data),
                News::Fatal(error) => return Err(error),
            }
            next = news.try_recv();
        }
    }
}

fn pass_on(update: Update, news: &SyncSender<News>) -> bool {
    let item = match update {
        Update::Connected => News::Data(Data::StreamUp),
        Update::Event(event) => News::Data(Data::Event(Event::read(&event))),
        Update::Lost { why, .. } => News::Data(Data::StreamLost(why)),
        Update::Ended(Some(error)) if !error.passing => News::Fatal(error),
        Update::Ended(error) => News::Data(Data::StreamLost(error.map_or_else(String::new, |error| error.message))),
    };
    news.send(item).is_ok()
}

fn read_keys(news: &SyncSender<News>) {
    loop {
        let item = match event::read() {
            Ok(TerminalEvent::Key(key)) => News::Key(key),
            Ok(TerminalEvent::Resize(..)) => News::Resized,
            Ok(_) => continue,
            Err(error) => News::NoInput(error.to_string()),
        };
        let last = matches!(item, News::NoInput(_));
        if news.send(item).is_err() || last {
            return;
        }
    }
}
