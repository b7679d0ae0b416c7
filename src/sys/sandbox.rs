//! What a process gives up for good: Landlock for files, a seccomp filter for everything else.
//!
//! Landlock(7) leaves it the files beneath some directories. The filter leaves it the system calls
//! that serving is made of: no connecting, no executing, no other process, no new executable
//! memory. What is refused fails with EPERM (and clone3 with ENOSYS, so that the C library makes
//! its threads by clone, whose flags a filter can see): a library that only tries something goes on
//! without it.
//!
//! Both hold for the calling thread and those that it starts; so this comes before any other
//! thread.
//!
//! Not here: whether to (`config::Sandbox`), which files (`cli::shell`).

use std::collections::BTreeMap;
use std::path::PathBuf;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd,
    PathFdError, Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, Scope,
};
use nix::libc;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch, apply_filter,
};
use thiserror::Error;

/// What a process may still do with files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permitted {
    /// Directories beneath which it may read.
    pub readable: Vec<PathBuf>,
    /// Directories in which it may make and write files, and read them.
    pub writable: Vec<PathBuf>,
}

/// Why this kernel does not take it.
#[derive(Debug, Error)]
pub enum SandboxError {
    /// Landlock is missing or switched off.
    #[error("this kernel has no Landlock, or it is switched off (Linux 5.13, lsm=landlock)")]
    Landlock(#[from] RulesetError),
    /// A directory that is to stay readable is not there.
    #[error("opening what stays readable: {0}")]
    Path(#[from] PathFdError),
    /// There is no seccomp, or no filter for this architecture.
    #[error("no seccomp filter: {0}")]
    Seccomp(#[from] seccompiler::Error),
}

/// Whether this kernel takes a sandbox: asked at start, so that it is said once.
///
/// # Errors
/// It does not.
pub fn check() -> Result<(), SandboxError> {
    ruleset()?;
    filters(std::process::id())?;
    Ok(())
}

/// Gives up files, and then calls. To be called once, before any other thread is started.
///
/// # Errors
/// This kernel does not take one of the two; the other one holds all the same.
pub fn enforce(permitted: &Permitted) -> Result<(), SandboxError> {
    // Not one for the other: half of it is better than nothing for whoever only tries.
    let files = restrict_files(permitted);
    let calls = restrict_calls();
    files.and(calls)
}

fn restrict_files(permitted: &Permitted) -> Result<(), SandboxError> {
    let read: BitFlags<AccessFs> = AccessFs::ReadFile | AccessFs::ReadDir;
    let write = read | AccessFs::WriteFile | AccessFs::MakeReg;
    let mut ruleset = ruleset()?;
    for (paths, access) in [(&permitted.readable, read), (&permitted.writable, write)] {
        for path in paths {
            ruleset = ruleset.add_rule(PathBeneath::new(PathFd::new(path)?, access))?;
        }
    }
    ruleset.restrict_self()?;
    Ok(())
}

/// What the first version of Landlock can take must be taken; later versions take more.
fn ruleset() -> Result<RulesetCreated, RulesetError> {
    Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(ABI::V1))?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(ABI::V5))?
        .handle_access(AccessNet::from_all(ABI::V4))?
        .scope(Scope::from_all(ABI::V6))?
        .set_compatibility(CompatLevel::HardRequirement)
        .create()
}

fn restrict_calls() -> Result<(), SandboxError> {
    // The larger one last: it would not let another one in.
    for filter in filters(std::process::id())? {
        apply_filter(&filter)?;
    }
    Ok(())
}

fn filters(pid: u32) -> Result<[BpfProgram; 2], SandboxError> {
    compile(pid).map_err(|error| SandboxError::Seccomp(error.into()))
}

fn compile(pid: u32) -> Result<[BpfProgram; 2], BackendError> {
    let machine = TargetArch::try_from(std::env::consts::ARCH)?;
    let refused = |errno: i32| SeccompAction::Errno(errno.cast_unsigned());
    let clone3 = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    let clone3 = SeccompFilter::new(clone3, SeccompAction::Allow, refused(libc::ENOSYS), machine)?;
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        CALLS.iter().map(|call| (*call, Vec::new())).collect();
    rules.extend(calls_with_conditions(pid)?);
    let filter = SeccompFilter::new(rules, refused(libc::EPERM), SeccompAction::Allow, machine)?;
    Ok([BpfProgram::try_from(clone3)?, BpfProgram::try_from(filter)?])
}

/// Calls that are refused or not by what they are called with.
fn calls_with_conditions(pid: u32) -> Result<[(i64, Vec<SeccompRule>); 6], BackendError> {
    let rule = |argument, operator, value: u64| {
        let size = SeccompCmpArgLen::Dword;
        SeccompRule::new(vec![SeccompCondition::new(argument, size, operator, value)?])
    };
    let is_one_of = |argument, values: [u64; 2]| {
        let rules = values.into_iter().map(|value| rule(argument, SeccompCmpOp::Eq, value));
        rules.collect::<Result<Vec<_>, _>>()
    };
    let lacks = |argument, bits: u64| rule(argument, SeccompCmpOp::MaskedEq(bits), 0);
    let thread = u64::from(libc::CLONE_THREAD.cast_unsigned());
    let executable = u64::from(libc::PROT_EXEC.cast_unsigned());
    let name_of_thread = u64::from(libc::PR_SET_NAME.cast_unsigned());
    /// The name of a piece of memory, which newer C libraries give.
    const NAME_OF_MEMORY: u64 = 0x5356_4d41;
    Ok([
        // Threads, and no processes.
        (libc::SYS_clone, vec![rule(0, SeccompCmpOp::MaskedEq(thread), thread)?]),
        (libc::SYS_mmap, vec![lacks(2, executable)?]),
        (libc::SYS_mprotect, vec![lacks(2, executable)?]),
        // How many bytes wait, and whether calls wait: not TIOCSTI, which types.
        (libc::SYS_ioctl, is_one_of(1, [libc::FIONREAD, libc::FIONBIO])?),
        (libc::SYS_prctl, is_one_of(0, [name_of_thread, NAME_OF_MEMORY])?),
        // An abort, and no signal for anybody else.
        (libc::SYS_tgkill, vec![rule(0, SeccompCmpOp::Eq, pid.into())?]),
    ])
}

/// What serving is made of, with what the C library needs for memory and threads. Opening is among
/// it: Landlock says what.
const CALLS: &[i64] = &[
    // Connections, files and pipes.
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_pwrite64,
    libc::SYS_sendfile,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_accept4,
    libc::SYS_shutdown,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_socketpair,
    libc::SYS_close,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_fcntl,
    libc::SYS_lseek,
    libc::SYS_pipe2,
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_statx,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_getdents64,
    libc::SYS_readlinkat,
    libc::SYS_fadvise64,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    // Waiting.
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_ppoll,
    libc::SYS_eventfd2,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    libc::SYS_timerfd_gettime,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_restart_syscall,
    // Clocks and counters.
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_gettimeofday,
    libc::SYS_getrandom,
    libc::SYS_getrusage,
    libc::SYS_times,
    libc::SYS_sysinfo,
    libc::SYS_uname,
    libc::SYS_getcpu,
    // Memory.
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_mincore,
    libc::SYS_memfd_create,
    libc::SYS_ftruncate,
    libc::SYS_membarrier,
    // Threads and signals.
    libc::SYS_clone3,
    libc::SYS_set_robust_list,
    libc::SYS_get_robust_list,
    libc::SYS_rseq,
    libc::SYS_set_tid_address,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_sched_getaffinity,
    libc::SYS_sigaltstack,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_exit,
    libc::SYS_exit_group,
    // Older forms of these, which other architectures have not.
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_stat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lstat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_open,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_readlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_dup2,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_time,
];
