//! The kernel, one interface a file, with safe signatures and no decisions.
//!
//! The only unsafe code of the project is here, and here only where no crate offers the call. Each
//! descriptor that crosses a function's border is owned or borrowed by its type.
//!
//! | file | what |
//! |---|---|
//! | `clock` | the machine's monotonic clock |
//! | `listener` | sockets that listen |
//! | `reuseport` | several that listen at one address |
//! | `accept` | taking a connection from one |
//! | `stream` | a connected socket |
//! | `epoll` | registrations that mio cannot make, and an instance that is asked now and then |
//! | `alarm` | a timer that two processes share |
//! | `bell` | an eventfd by which a worker wakes its master |
//! | `fdpass` | descriptors over a Unix socketpair |
//! | `shm` | sealed memory that two processes share |
//! | `locked_file` | a file that one process writes, and whose lock says that it lives |
//! | `process` | children, by pidfd |
//! | `launch` | how this process was started |
//! | `accounts` | users and groups by name |
//! | `privileges` | what a child is before it executes anything |
//! | `sandbox` | what a process gives up for good |
//! | `inherit` | what a worker was started with |
//! | `upgrade` | another program image in this process, and what it is left |
//! | `limits` | the kernel's version and this process's limits |
//! | `memory` | how much memory a process has |
//! | `memory_file` | a file in memory that one process writes and another reads |
//! | `notify` | the service manager's socket |
//!
//! Not here: what any of it is for (`master`, `worker`).

pub mod accept;
pub mod accounts;
pub mod alarm;
pub mod bell;
pub mod clock;
pub mod cpu_clock;
pub mod epoll;
pub mod fdpass;
pub mod inherit;
pub mod launch;
pub mod limits;
pub mod listener;
pub mod locked_file;
pub mod memory;
pub mod memory_file;
pub mod notify;
pub mod privileges;
pub mod process;
pub mod reuseport;
pub mod sandbox;
pub mod shm;
pub mod stream;
pub mod upgrade;
pub mod usage;
