//! `maitred top`: a terminal, a clock, and a thread that asks once a second.
//!
//! Not here: what is known and how it is drawn (`top`), asking (`cli::ctl::client`).

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};

use crate::cli::complain;
use crate::cli::ctl::client::Address;
use crate::cli::ctl::one_of;
use crate::cli::faults::{Given, Reader, variable_of};
use crate::cli::raw::RawTop;
use crate::config::{TOP_INTERVAL, TOP_KEY_WAIT};
use crate::exit::Exit;
use crate::observe::view::View;
use crate::sys::clock;
use crate::top::{Key, Model, draw};

/// Where the admin address is; also for whoever else asks it.
const FLAG: &str = "--admin";

pub(super) fn run(program: &str, raw: &RawTop) -> u8 {
    let variables = |name: &str| std::env::var_os(name);
    let mut reader = Reader::new(&variables);
    let given = match &raw.address {
        Some(text) => Some(Given { name: FLAG.to_owned(), value: text.clone(), typed: true }),
        None => reader.variable(&variable_of(FLAG)),
    };
    // The variable is that of `serve`, and may name several.
    let address = given.and_then(|given| {
        let parse = if given.typed { Address::parse } else { one_of };
        reader.parsed_raw(given, parse)
    });
    let address = match reader.finish(address) {
        Ok(Some(given)) => given.value,
        Ok(None) => {
            let variable = variable_of(FLAG);
            complain(
                program,
                &format_args!("top needs the ADDRESS of a server's {FLAG}, or {variable}"),
            );
            return Exit::Usage as u8;
        }
        Err(faults) => {
            faults.iter().for_each(|fault| complain(program, fault));
            return Exit::Usage as u8;
        }
    };
    if !io::stdout().is_terminal() {
        complain(program, &"top draws on a terminal; `status --json` is for programs");
        return Exit::Usage as u8;
    }
    match watch(&address) {
        Ok(()) => Exit::Done as u8,
        Err(error) => {
            complain(program, &format_args!("drawing on the terminal: {error}"));
            Exit::Failed as u8
        }
    }
}

/// Until somebody quits. The terminal is what it was before, whatever the ending: `ratatui::try_init`
/// has put its hook before the panic's own.
fn watch(address: &Address) -> io::Result<()> {
    let is_told_to_end = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT, SIGHUP, SIGQUIT] {
        signal_hook::flag::register(signal, Arc::clone(&is_told_to_end))?;
    }
    let (sender, answers) = sync_channel(1);
    let asked = address.clone();
    // It ends with the process, or when nobody listens any more.
    thread::spawn(move || ask(&asked, &sender));
    // https://no-color.org: "when present and not an empty string".
    let has_colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let mut model = Model::new(&address.to_string(), has_colour);
    model.handle_now(clock::now());
    let mut terminal = ratatui::try_init()?;
    let outcome = run_loop(&mut terminal, &mut model, &answers, &is_told_to_end);
    let restored = ratatui::try_restore();
    outcome.and(restored)
}

fn run_loop(
    terminal: &mut DefaultTerminal,
    model: &mut Model,
    answers: &Receiver<Result<View, String>>,
    is_told_to_end: &AtomicBool,
) -> io::Result<()> {
    while !model.is_over() && !is_told_to_end.load(Ordering::Relaxed) {
        terminal.draw(|frame| draw(model, frame))?;
        // A resize is an event too, and drawing measures the terminal afresh.
        if event::poll(TOP_KEY_WAIT)?
            && let Event::Key(pressed) = event::read()?
            && let Some(key) = key(pressed)
        {
            model.handle_key(key);
        }
        for answer in answers.try_iter() {
            match answer {
                Ok(view) => model.handle_view(view, clock::now()),
                Err(reason) => model.handle_failure(reason, clock::now()),
            }
        }
        model.handle_now(clock::now());
    }
    Ok(())
}

fn ask(address: &Address, answers: &SyncSender<Result<View, String>>) {
    loop {
        let view = view(address);
        if answers.send(view).is_err() {
            return;
        }
        thread::sleep(TOP_INTERVAL);
    }
}

/// This moment, or why there is none.
fn view(address: &Address) -> Result<View, String> {
    let reply = address.request("GET", "/status", b"").map_err(|error| error.to_string())?;
    if reply.status != 200 {
        return Err(format!("the server answers {}", reply.status));
    }
    serde_json::from_slice(&reply.body).map_err(|error| format!("not a status: {error}"))
}

fn key(pressed: KeyEvent) -> Option<Key> {
    // Some terminals tell of releases too.
    if pressed.kind == KeyEventKind::Release {
        return None;
    }
    let has_control = pressed.modifiers.contains(KeyModifiers::CONTROL);
    Some(match pressed.code {
        KeyCode::Char(character) if has_control => Key::Control(character),
        KeyCode::Char(character) => Key::Char(character),
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::Left => Key::Left,
        KeyCode::Right => Key::Right,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        KeyCode::Esc => Key::Escape,
        _ => Key::Other,
    })
}
