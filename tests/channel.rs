//! The channel: packets and their descriptors between two real socket ends, with nothing lost and
//! nothing left open on any path.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use maitred::config::{CONTEXT_SIZE, DESCRIPTORS_PER_PACKET_MAX};
use maitred::handoff::{
    FromMaster, FromWorker, LendRecord, MasterEnd, ToMaster, ToWorker, WorkerEnd,
};
use maitred::ident::{ListenerId, LoanId, PeerAddress};
use maitred::sys::fdpass::socketpair;
use maitred::time::Nanos;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

fn pair() -> (MasterEnd, WorkerEnd) {
    let (master, worker) = socketpair().expect("a socketpair");
    (MasterEnd::new(master), WorkerEnd::new(worker))
}

fn records(count: usize) -> Vec<LendRecord> {
    let record = |index| LendRecord {
        loan: LoanId { index, sequence: 3 },
        listener: ListenerId(0),
        peer: PeerAddress::Local,
        accepted_at: Nanos(1),
        idle_deadline: Nanos(2),
        requests_served: 0,
        waited_before_accept_us: 0,
        lent_after_us: 0,
        silent_us: 0,
        context: [0; CONTEXT_SIZE],
    };
    (0..count as u32).map(record).collect()
}

/// A connection of one's own: descriptors 0 to 2 are lent as often as wished, so any will do.
fn any_descriptor() -> OwnedFd {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection").into()
}

fn lend(master: &mut MasterEnd, descriptor: BorrowedFd<'_>, count: usize) -> bool {
    master.lend(&records(count), &vec![descriptor; count]).expect("the worker's end is open")
}

fn open_descriptors() -> usize {
    fs::read_dir("/proc/self/fd").expect("/proc is mounted").count()
}

/// Everything in one test: it counts this process's descriptors, and lowers its limit.
#[test]
fn descriptors_arrive_whole_or_not_at_all_and_none_is_left_open() {
    let descriptor = any_descriptor();
    let before = open_descriptors();
    a_full_packet_arrives_in_order_and_close_on_exec(descriptor.as_fd());
    more_than_a_packet_holds_is_refused(descriptor.as_fd());
    a_full_channel_is_a_value(descriptor.as_fd());
    a_worker_that_died_with_packets_unread_leaves_no_descriptor(descriptor.as_fd());
    what_a_worker_said_before_it_died_is_still_read(descriptor.as_fd());
    descriptors_with_a_frame_that_has_none_are_closed(descriptor.as_fd());
    nonsense_costs_one_packet();
    at_its_limit_a_worker_refuses_the_packet_and_keeps_nothing(descriptor.as_fd());
    assert_eq!(open_descriptors(), before, "a descriptor leaked");
}

fn a_full_packet_arrives_in_order_and_close_on_exec(descriptor: BorrowedFd<'_>) {
    let (mut master, mut worker) = pair();
    assert!(lend(&mut master, descriptor, DESCRIPTORS_PER_PACKET_MAX));
    let FromMaster::Frame(ToWorker::Lend(lent), descriptors) = worker.receive().expect("whole")
    else {
        panic!("another frame");
    };
    assert_eq!(lent, records(DESCRIPTORS_PER_PACKET_MAX));
    assert_eq!(descriptors.len(), DESCRIPTORS_PER_PACKET_MAX);
    for one in &descriptors {
        let flags = fs::read_to_string(format!("/proc/self/fdinfo/{}", one.as_raw_fd()))
            .expect("it is open");
        let flags = flags.lines().find_map(|line| line.strip_prefix("flags:")).expect("flags");
        let flags = u32::from_str_radix(flags.trim(), 8).expect("octal");
        assert_ne!(flags & 0o2_000_000, 0, "not close-on-exec");
    }
}

fn more_than_a_packet_holds_is_refused(descriptor: BorrowedFd<'_>) {
    let (master, mut worker) = pair();
    let socket = maitred::sys::fdpass::PacketSocket::new(
        master.as_fd().try_clone_to_owned().expect("a duplicate"),
    );
    let many = vec![descriptor; DESCRIPTORS_PER_PACKET_MAX + 1];
    assert!(socket.post_with(b"x", &many).is_err());
    assert!(matches!(worker.receive(), Ok(FromMaster::Empty)));
}

fn a_full_channel_is_a_value(descriptor: BorrowedFd<'_>) {
    let (mut master, mut worker) = pair();
    let sent = (0..10_000).take_while(|_| lend(&mut master, descriptor, 64)).count();
    assert!((1..10_000).contains(&sent), "{sent} packets");
    // Room again as soon as something has been read.
    while !matches!(worker.receive().expect("whole"), FromMaster::Empty) {}
    assert!(lend(&mut master, descriptor, 1));
}

fn a_worker_that_died_with_packets_unread_leaves_no_descriptor(descriptor: BorrowedFd<'_>) {
    let (mut master, worker) = pair();
    assert!(lend(&mut master, descriptor, 64));
    drop(worker);
    assert!(master.lend(&records(1), &[descriptor]).is_err(), "nobody is there");
    assert!(matches!(master.receive(), Ok(FromWorker::Closed)));
}

fn what_a_worker_said_before_it_died_is_still_read(descriptor: BorrowedFd<'_>) {
    let (mut master, mut worker) = pair();
    assert!(lend(&mut master, descriptor, 1));
    assert!(worker.send(&ToMaster::Bell).expect("the master is there"));
    // ECONNRESET comes first: the worker dies with a packet unread.
    drop(worker);
    assert!(matches!(master.receive(), Ok(FromWorker::Frame(ToMaster::Bell))));
    assert!(matches!(master.receive(), Ok(FromWorker::Closed)));
}

fn descriptors_with_a_frame_that_has_none_are_closed(descriptor: BorrowedFd<'_>) {
    let (mut master, worker) = pair();
    let socket = maitred::sys::fdpass::PacketSocket::new(
        worker.as_fd().try_clone_to_owned().expect("a duplicate"),
    );
    let mut bell = Vec::new();
    ToMaster::Bell.encode(&mut bell);
    socket.post_with(&bell, &[descriptor]).expect("sent");
    let open = open_descriptors();
    assert!(master.receive().is_err());
    // Not here: closing what a stranger has sent may take any time.
    let end = Instant::now() + Duration::from_secs(20);
    while open_descriptors() > open {
        assert!(Instant::now() < end, "it is not closed");
        thread::yield_now();
    }
    drop(socket);
    drop(worker);
    assert!(matches!(master.receive(), Ok(FromWorker::Closed)));
}

fn nonsense_costs_one_packet() {
    let (mut master, mut worker) = pair();
    let socket = maitred::sys::fdpass::PacketSocket::new(
        worker.as_fd().try_clone_to_owned().expect("a duplicate"),
    );
    socket.post(b"nonsense").expect("sent");
    assert!(worker.send(&ToMaster::Bye).expect("the master is there"));
    assert!(master.receive().is_err());
    assert!(matches!(master.receive(), Ok(FromWorker::Frame(ToMaster::Bye))));
}

fn at_its_limit_a_worker_refuses_the_packet_and_keeps_nothing(descriptor: BorrowedFd<'_>) {
    let (mut master, mut worker) = pair();
    assert!(lend(&mut master, descriptor, 64));
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("limits can be read");
    let open = open_descriptors() as u64;
    setrlimit(Resource::RLIMIT_NOFILE, open + 8, hard).expect("lower is allowed");
    let received = worker.receive();
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).expect("back up to where it was");
    let error = received.expect_err("64 do not fit into 8");
    assert_eq!(error.refused().map(<[LoanId]>::len), Some(64), "{error}");
    assert!(matches!(worker.receive(), Ok(FromMaster::Empty)));
}
