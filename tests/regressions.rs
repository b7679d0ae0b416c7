//! Bugs that were found, each with its story. (Those that a property or a sequence shows are beside
//! it: `dispatch_properties`, `src/worker/pipe.rs`.)

#![cfg(feature = "cli")]

mod common;

use std::io;
use std::time::Duration;

use common::Server;
use common::client::Client;
use maitred::config::{Balance, Rebalance};
use maitred::dispatch::{DispatchSettings, Dispatcher, Effect, Sample, Shape};
use maitred::handoff::ChannelError;
use maitred::ident::{ConnectionId, Slot};
use maitred::time::Nanos;

/// A request that had been sent, and waited for a busy worker for longer than `--header-timeout`,
/// was closed without an answer: the deadline of a silent client was applied to one that had spoken.
#[test]
fn a_request_that_waits_for_a_worker_is_not_a_slow_client() {
    let server =
        Server::start(&["serve", "-w", "1", "--threads", "1", "--header-timeout", "200ms"]);
    let mut busy = Client::connect(server.address());
    busy.send(b"GET /sleep/1000 HTTP/1.1\r\nHost: x\r\n\r\n");
    let mut waiting: Vec<_> = (0..3).map(|_| Client::connect(server.address())).collect();
    for client in &mut waiting {
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    }
    for client in &mut waiting {
        assert_eq!(client.answer(false).status, 200);
    }
    assert_eq!(busy.answer(false).status, 200);
}

/// On the loop, the rest of a large answer was never sent: the registration for writing was taken
/// back by the read that the answer had come out of.
#[test]
fn a_large_answer_from_the_loop_arrives_whole() {
    let server = Server::start(&["serve", "-w", "1", "--threads", "0"]);
    let mut client = Client::connect(server.address());
    for _ in 0..3 {
        assert_eq!(client.get("/bytes/20000000").body.len(), 20_000_000);
    }
}

/// A body of known length that was too long to be buffered reached its handler, and its end did not:
/// the client had its whole answer, and the handler thread waited for more until the worker ended.
/// After as many uploads as there are threads nobody was served. (The chunked ones ended.)
#[test]
fn a_streamed_upload_gives_its_thread_back() {
    let server = Server::start(&["serve", "-w", "1", "--threads", "2", "--buffer-request", "16K"]);
    let mut client = Client::connect(server.address());
    for size in [16_385, 40_000, 200_000, 65_536, 65_537] {
        let body = vec![b'x'; size];
        assert_eq!(client.request("POST", "/echo", &[], &body).body.len(), size);
    }
    assert_eq!(client.get("/").status, 200);
}

/// With `--buffer-request 0` the pipe of a streamed body had room for nothing, and so it never had
/// room: a body that came in two pieces was waited for until its deadline.
#[test]
fn a_body_streams_through_the_smallest_buffer() {
    for buffer in ["0", "1"] {
        let server =
            Server::start(&["serve", "-w", "1", "--threads", "1", "--buffer-request", buffer]);
        let mut client = Client::connect(server.address());
        for _ in 0..3 {
            client.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n12");
            client.send(b"34");
            assert_eq!(client.answer(false).text(), "1234", "--buffer-request {buffer}");
        }
    }
}

/// Found by the fault matrix (row `injected`, which repeats it with strace): a kernel that was short
/// of memory while the master heard a worker was taken for a worker that breaks the protocol, and
/// the worker was killed.
#[test]
fn a_shortage_of_memory_is_not_the_workers_fault() {
    let of = |number| ChannelError::System(io::Error::from_raw_os_error(number));
    assert!(of(nix::libc::ENOMEM).is_shortage() && of(nix::libc::ENOBUFS).is_shortage());
    assert!(!of(nix::libc::EBADF).is_shortage() && !ChannelError::Unexpected(1).is_shortage());
}

fn dispatcher(balance: Balance) -> Dispatcher {
    Dispatcher::new(&DispatchSettings {
        balance,
        weights: Vec::new(),
        rebalance: Rebalance::Auto,
        stall_after: Duration::from_millis(1),
        credit: None,
        queue_timeout: None,
        max_queue: None,
        seed: 0,
    })
}

/// A worker whose page said that it had 2³²−1 requests in service ended the master under
/// least-latency, by an addition that overflowed.
#[test]
fn the_largest_load_that_can_be_claimed_is_a_load() {
    let mut dispatcher = dispatcher(Balance::LeastLatency);
    for slot in [Slot(0), Slot(1)] {
        let shape = Shape { threads: 0, credit: 0, recallable: true };
        dispatcher.handle_worker_ready(slot, shape);
    }
    let lie = Sample { started: u64::MAX, busy_ns: u64::MAX, services: 1, ..Sample::default() };
    dispatcher.handle_sample(Slot(0), &lie, Nanos(1));
    dispatcher.handle_accepted(ConnectionId(1), 0, Nanos(1));
    dispatcher.decide();
    let lent = Effect::Lend { connection: ConnectionId(1), slot: Slot(1) };
    assert_eq!(dispatcher.poll_effect(), Some(lent));
}

/// Found by the simulation: a connection that was lent to a worker which had just become busy was
/// looked after by nobody. The look at its page came before the loan, and so the master slept until
/// its slow timer, for 20 ms and more, instead of `--stall-after`.
#[test]
fn what_has_just_been_lent_is_looked_after() {
    let mut dispatcher = dispatcher(Balance::LeastLoaded);
    for slot in [Slot(0), Slot(1)] {
        let shape = Shape { threads: 0, credit: 0, recallable: true };
        dispatcher.handle_worker_ready(slot, shape);
        dispatcher.handle_sample(slot, &Sample::default(), Nanos(1_000_000));
    }
    dispatcher.handle_time(Nanos(1_000_000));
    assert_eq!(dispatcher.next_look(), None);
    dispatcher.handle_accepted(ConnectionId(1), 0, Nanos(1_000_000));
    dispatcher.decide();
    assert!(matches!(dispatcher.poll_effect(), Some(Effect::Lend { .. })));
    assert_eq!(dispatcher.next_look(), Some(Nanos(2_000_000)));
}

/// Found by the simulation: a worker was asked to ring when it was half empty, and with more than
/// eight threads (or a small `--credit`) some of them were idle before that, while connections
/// waited in the kernel's queue.
#[test]
fn a_worker_rings_as_soon_as_a_thread_is_idle() {
    for (threads, waiting) in [(1, 8), (8, 8), (16, 8), (200, 8)] {
        let mut dispatcher = dispatcher(Balance::LeastLoaded);
        let shape = Shape { threads, credit: 0, recallable: true };
        dispatcher.handle_worker_ready(Slot(0), shape);
        let threads = u32::from(threads);
        let full = Sample { waiting, threads_busy: threads, ..Sample::default() };
        dispatcher.handle_sample(Slot(0), &full, Nanos(1));
        dispatcher.decide();
        let rings_at =
            dispatcher.bell_threshold(Slot(0), dispatcher.wish(true)).expect("somebody waits");
        assert!(rings_at >= threads - 1, "{threads} threads, and it rings at {rings_at}");
        assert!(rings_at < threads + waiting, "not for every single place");
    }
}

/// Found by the simulation: what was recalled, bounced at a full channel and went back to where it
/// came from was recalled again before it had been sent, as if it had waited long; then it counted
/// as claimed, and nobody looked after it.
#[test]
fn what_has_just_been_lent_has_not_waited_long() {
    let mut dispatcher = dispatcher(Balance::LeastLoaded);
    let now = Nanos(9_000_000);
    dispatcher.handle_time(now);
    for (slot, threads, busy) in [(Slot(0), 1, 1), (Slot(1), 1, 0), (Slot(2), 16, 5)] {
        dispatcher.handle_worker_ready(slot, Shape { threads, credit: 0, recallable: true });
        let waits = slot == Slot(0);
        let lent_at = waits.then_some(Nanos(8_400_000));
        let sample = Sample {
            waiting: u32::from(waits),
            oldest_waiting: lent_at,
            nothing_claimed_since: lent_at,
            started: u64::from(busy),
            threads_busy: busy,
            ..Sample::default()
        };
        dispatcher.handle_sample(slot, &sample, now);
    }
    dispatcher.decide();
    assert_eq!(dispatcher.poll_effect(), Some(Effect::Recall { slot: Slot(0), count: 1 }));
    dispatcher.handle_recalled(Slot(0), ConnectionId(7), 0);
    dispatcher.decide();
    let lent_to = |slot| Some(Effect::Lend { connection: ConnectionId(7), slot: Slot(slot) });
    assert_eq!(dispatcher.poll_effect(), lent_to(1));
    dispatcher.handle_back_pressure(Slot(1), &[(ConnectionId(7), 0)]);
    dispatcher.decide();
    assert_eq!(dispatcher.poll_effect(), lent_to(0));
    assert_eq!(dispatcher.poll_effect(), None);
    assert!(dispatcher.next_look() <= Some(Nanos(10_000_000)), "somebody looks after it");
}

/// Found by the simulation: of what was recalled together the last came first, since each was put
/// before the others. A burst behind a slow request went back and forth between two workers, turned
/// round each time, and its tail was twice as long as without any recall.
#[test]
fn what_is_recalled_keeps_its_order() {
    let mut dispatcher = dispatcher(Balance::LeastLoaded);
    let now = Nanos(9_000_000);
    dispatcher.handle_time(now);
    let lent_at = Some(Nanos(7_000_000));
    let busy = Sample {
        waiting: 3,
        oldest_waiting: lent_at,
        nothing_claimed_since: lent_at,
        started: 1,
        threads_busy: 3,
        all_busy_since: Nanos(7_000_000),
        ..Sample::default()
    };
    for (slot, sample) in [(Slot(0), busy), (Slot(1), Sample::default())] {
        let shape = Shape { threads: 3, credit: 0, recallable: true };
        dispatcher.handle_worker_ready(slot, shape);
        dispatcher.handle_sample(slot, &sample, now);
    }
    dispatcher.decide();
    assert_eq!(dispatcher.poll_effect(), Some(Effect::Watch(Slot(0))));
    assert_eq!(dispatcher.poll_effect(), Some(Effect::Recall { slot: Slot(0), count: 3 }));
    for number in 4..7 {
        dispatcher.handle_recalled(Slot(0), ConnectionId(number), 0);
    }
    dispatcher.decide();
    let lent = std::iter::from_fn(|| dispatcher.poll_effect()).filter_map(|effect| match effect {
        Effect::Lend { connection, slot } => Some((connection.0, slot)),
        _ => None,
    });
    assert_eq!(lent.collect::<Vec<_>>(), [(4, Slot(1)), (5, Slot(1)), (6, Slot(1))]);
}

/// Found by the simulation, with workers of both kinds: room for a rescue was counted at a busy loop,
/// and what was rescued went behind a busy thread, one after the other, until the master's rounds
/// were over and the last one was left in the queue beside credit.
#[test]
fn what_is_rescued_goes_where_there_was_room_for_it() {
    let mut dispatcher = dispatcher(Balance::LeastLoaded);
    let now = Nanos(9_000_000);
    dispatcher.handle_time(now);
    let (lent_at, turn) = (Some(Nanos(8_900_000)), Nanos(8_900_000));
    let busy_loop = Sample {
        waiting: 7,
        oldest_waiting: lent_at,
        nothing_claimed_since: lent_at,
        turn_entered: turn,
        ..Sample::default()
    };
    let busy_thread =
        Sample { started: 1, threads_busy: 1, all_busy_since: turn, ..Sample::default() };
    let stuck = Sample { all_busy_since: Nanos(1), open: 9, ..busy_thread };
    for (slot, threads, sample) in
        [(Slot(0), 0, busy_loop), (Slot(1), 1, busy_thread), (Slot(2), 1, stuck)]
    {
        dispatcher.handle_worker_ready(slot, Shape { threads, credit: 0, recallable: true });
        dispatcher.handle_sample(slot, &sample, now);
    }
    dispatcher.decide();
    assert_eq!(dispatcher.poll_effect(), Some(Effect::Watch(Slot(2))));
    assert_eq!(dispatcher.poll_effect(), Some(Effect::Rescue { slot: Slot(2), count: 1 }));
    dispatcher.handle_rescued(Slot(2), ConnectionId(7), 0);
    dispatcher.handle_rescue_over(Slot(2), true);
    dispatcher.decide();
    let lent = Effect::Lend { connection: ConnectionId(7), slot: Slot(0) };
    assert_eq!(dispatcher.poll_effect(), Some(lent));
    assert_eq!(dispatcher.poll_effect(), None, "there is no more room");
}

/// A worker that said at each look that its turn had begun just `--stall-after` ago was looked at
/// again a nanosecond later, and so on: the master never slept. What was not there at the last look
/// has begun since.
#[test]
fn who_is_always_about_to_be_stuck_is_looked_at_twice_a_stall_at_the_most() {
    let mut dispatcher = dispatcher(Balance::LeastLoaded);
    let mut now = Nanos(1_000_000_000);
    dispatcher.handle_time(now);
    for slot in [Slot(0), Slot(1)] {
        dispatcher.handle_worker_ready(slot, Shape { threads: 0, credit: 0, recallable: true });
        dispatcher.handle_sample(slot, &Sample::default(), now);
    }
    let end = now + Duration::from_millis(20);
    let mut looks = 0;
    while now < end {
        dispatcher.handle_time(now);
        let turn_entered = Nanos(now.0 - 999_999);
        let sample = Sample { turn_entered, open: 1, ..Sample::default() };
        dispatcher.handle_sample(Slot(0), &sample, now);
        dispatcher.handle_sample(Slot(1), &Sample::default(), now);
        // Where nobody looks, its alarm would ring in time.
        now = dispatcher.next_look().unwrap_or(now + Duration::from_millis(1));
        looks += 1;
    }
    assert!(looks <= 41, "{looks} looks in twenty times --stall-after");
}

/// Found by the simulation: a worker read the clock, was not run for a while, and then gave away its
/// last thread. Its alarm, by its own stamp, rang too early for the master, which goes by its own
/// looks; nobody looked again, and what became readable waited as long as the handler took.
#[test]
fn an_alarm_that_rang_too_early_is_followed_by_a_look() {
    let mut dispatcher = dispatcher(Balance::LeastLoaded);
    let shape = Shape { threads: 1, credit: 0, recallable: true };
    for slot in [Slot(0), Slot(1)] {
        dispatcher.handle_time(Nanos(1));
        dispatcher.handle_worker_ready(slot, shape);
    }
    let idle = Sample { open: 3, ..Sample::default() };
    let busy_since =
        |stamp| Sample { started: 1, threads_busy: 1, all_busy_since: Nanos(stamp), ..idle };
    for (now, sample) in [(58_730_000, idle), (59_016_000, busy_since(58_158_000))] {
        dispatcher.handle_time(Nanos(now));
        dispatcher.handle_sample(Slot(0), &sample, Nanos(now));
        dispatcher.handle_sample(Slot(1), &Sample::default(), Nanos(now));
        dispatcher.decide();
    }
    let looks_at = dispatcher.next_look().expect("its alarm has rung at 59 ms, for nothing");
    assert!(looks_at <= Nanos(60_230_000), "{looks_at:?}");
}

/// Found by the simulation: an upgrade left a queue, and the new image slept before it had decided
/// anything, with room for all of it as far as it knew.
#[test]
fn a_queue_that_an_upgrade_has_left_is_not_slept_on() {
    let mut dispatcher = dispatcher(Balance::LeastLoaded);
    dispatcher.handle_worker_ready(Slot(0), Shape { threads: 0, credit: 0, recallable: true });
    for number in 0..3 {
        dispatcher.handle_accepted(ConnectionId(number), 0, Nanos(1));
    }
    assert!(dispatcher.is_undecided(), "the master decides before it sleeps");
    dispatcher.decide();
    assert!(!dispatcher.is_undecided());
}
