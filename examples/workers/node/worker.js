// A worker in Node.js: the hand-off protocol (docs/handoff.md) in front of Node's own HTTP server.
//
//     npm ci && maitred serve -- node examples/workers/node/worker.js
//
// Node cannot receive descriptors, nor open a SEQPACKET socket, so that four functions of the C
// library are called through koffi. Everything behind a received descriptor is plain Node: a net.Socket
// given to an http.Server by its 'connection' event. (One that listens nowhere has no deadline for a
// head: a server for strangers needs one of its own.) The application answers who it is to any request;
// /sleep/MS waits between the head and the body of its answer, /block/MS does the same and holds
// everybody else up.

import fs from "node:fs";
import http from "node:http";
import net from "node:net";
import koffi from "koffi";

const VERSION = 1;
const LEND = 1, DRAIN = 3;
const READY = 16, REFUSE = 17, BYE = 19, TAKEN = 20, ENDED = 21, REPORT = 22;
const HEADER_SIZE = 8, LEND_SIZE = 128, LOAN_SIZE = 8, PACKET_LOANS_MAX = 64;
const REPORT_EVERY_MS = 100, IDLE_MS = 75_000, SLEEP_MAX_MS = 60_000;

// As Linux has them on every 64-bit machine.
const POLLIN = 1, POLLOUT = 4, MSG_DONTWAIT = 0x40, MSG_CTRUNC = 0x8, MSG_CMSG_CLOEXEC = 0x40000000;
const MSG_NOSIGNAL = 0x4000, SHUT_RDWR = 2, CMSG_HEADER_SIZE = 16;

const libc = koffi.load(null);
koffi.struct("pollfd", { fd: "int", events: "short", revents: "short" });
koffi.struct("iovec", { base: "void *", length: "size_t" });
koffi.struct("msghdr", {
  name: "void *", namelen: "uint32_t", iov: "iovec *", iovlen: "size_t",
  control: "void *", controllen: "size_t", flags: "int",
});
const poll = libc.func("int poll(_Inout_ pollfd *, unsigned long, int)");
const recvmsg = libc.func("intptr_t recvmsg(int, _Inout_ msghdr *, int)");
const send = libc.func("intptr_t send(int, const void *, size_t, int)");
const shutdown = libc.func("int shutdown(int, int)");

// A program that this one starts is no worker.
const names = ["CHANNEL_FD", "SLOT", "GENERATION", "PAGE_FD", "ALARM_FD", "BELL_FD", "METERS_FD"];
const [channel, slot] = names
  .map((name) => {
    const number = Number(process.env[`MAITRED_${name}`] ?? Number.NaN);
    delete process.env[`MAITRED_${name}`];
    return number;
  });

/** Every connection that is here, and of them those that have been answered and wait. */
const connections = new Set(), idle = new Set();
let started = 0, finished = 0, reported = -1;
let closing = false, drained = false;

/** A lent connection. A close alone would tell its client nothing: the master holds a copy. */
class Loan extends net.Socket {
  constructor(descriptor, id) {
    super({ fd: descriptor, allowHalfOpen: true });
    this.descriptor = descriptor;
    connections.add(this);
    this.on("close", () => {
      connections.delete(this);
      idle.delete(this);
      post(ENDED, [id]);
      leaveIfEmpty();
    });
  }

  _destroy(error, callback) {
    shutdown(this.descriptor, SHUT_RDWR);
    super._destroy(error, callback);
  }
}

const server = http.createServer((request, response) => {
  started += 1;
  idle.delete(request.socket);
  response.on("close", () => {
    finished += 1;
    if (closing) request.socket.destroySoon();
    else idle.add(request.socket);
  });
  if (closing) response.setHeader("Connection", "close");
  const target = request.url ?? "";
  const body = JSON.stringify({ slot, pid: process.pid, target });
  response.setHeader("Content-Length", Buffer.byteLength(body));
  const wait = /^\/(sleep|block)\/([0-9]+)$/.exec(target);
  if (!wait) return response.end(body);
  response.flushHeaders();
  const waitMs = Math.min(Number(wait[2]), SLEEP_MAX_MS);
  if (wait[1] === "sleep") return setTimeout(() => response.end(body), waitMs);
  setImmediate(() => {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, waitMs);
    response.end(body);
  });
});
server.timeout = IDLE_MS;
server.keepAliveTimeout = IDLE_MS;

function post(kind, records, count = records.length) {
  const header = Buffer.from(Uint16Array.of(VERSION, kind, count, 0).buffer);
  const packet = Buffer.concat([header, ...records]);
  // Waits if the channel is full. The master never waits for us: it reads in every turn.
  while (send(channel, packet, packet.length, MSG_NOSIGNAL) < 0) {
    // If it is gone, the end of the channel comes next.
    if (koffi.errno() !== koffi.os.errno.EAGAIN) return;
    poll([{ fd: channel, events: POLLOUT, revents: 0 }], 1, -1);
  }
}

/** Waits for the next packet on a thread of libuv's, and then reads it here. */
function listen() {
  poll.async([{ fd: channel, events: POLLIN, revents: 0 }], 1, -1, () => {
    hear();
    if (!drained) listen();
  });
}

function hear() {
  const packet = Buffer.alloc(HEADER_SIZE + PACKET_LOANS_MAX * LEND_SIZE);
  const control = Buffer.alloc(CMSG_HEADER_SIZE + PACKET_LOANS_MAX * 4);
  const message = {
    name: null, namelen: 0, iov: [{ base: packet, length: packet.length }], iovlen: 1,
    control, controllen: control.length, flags: 0,
  };
  const length = recvmsg(channel, message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  const errno = koffi.errno();
  if (length < 0 && [koffi.os.errno.EAGAIN, koffi.os.errno.EINTR].includes(errno)) return;
  if (length <= 0) return drain(IDLE_MS); // The master is gone.
  const kind = packet.readUInt16LE(2), count = packet.readUInt16LE(4);
  if (kind === LEND) {
    const loans = Array.from({ length: count }, (_, place) => {
      const begin = HEADER_SIZE + place * LEND_SIZE;
      return packet.subarray(begin, begin + LOAN_SIZE);
    });
    const size = message.controllen < CMSG_HEADER_SIZE ? 0 : Number(control.readBigUInt64LE(0));
    const descriptors = [];
    for (let at = CMSG_HEADER_SIZE; at + 4 <= size; at += 4) {
      descriptors.push(control.readInt32LE(at));
    }
    take(loans, descriptors, (message.flags & MSG_CTRUNC) !== 0);
  } else if (kind === DRAIN) {
    // With mode 1 the server ends, and lends until it stops listening.
    if (packet.readUInt32LE(HEADER_SIZE) === 1) closeIdle();
    else drain(packet.readUInt32LE(HEADER_SIZE + 4));
  }
}

function take(loans, descriptors, truncated) {
  if (truncated || descriptors.length !== loans.length) {
    descriptors.forEach((descriptor) => fs.closeSync(descriptor));
    return post(REFUSE, loans);
  }
  // Before the first read, which the constructor of a socket begins.
  post(TAKEN, loans);
  loans.forEach((loan, place) => server.emit("connection", new Loan(descriptors[place], loan)));
}

/** Who is idle is sent away; who has had no answer yet gets one. */
function closeIdle() {
  closing = true;
  idle.forEach((socket) => socket.destroy());
}

function drain(gracefulMs) {
  closeIdle();
  drained = true;
  setTimeout(() => process.exit(0), gracefulMs);
  leaveIfEmpty();
}

function leaveIfEmpty() {
  if (drained && connections.size === 0) process.exit(0);
}

if (Number.isNaN(channel)) throw new Error("start me as: maitred serve -- node worker.js");
process.on("SIGTERM", () => post(BYE, [], 0));
// They reach every process of a terminal, and are for the master.
for (const signal of ["SIGINT", "SIGHUP"]) process.on(signal, () => {});
// Threads 0: a loop. Credit 0: as the master likes. Page 0: none.
const ready = Buffer.alloc(16);
ready.writeUInt16LE(VERSION, 0);
ready.writeUInt32LE(process.pid, 8);
post(READY, [ready]);
listen();
setInterval(() => {
  if (started + finished === reported) return;
  reported = started + finished;
  const record = Buffer.alloc(40);
  record.writeBigUInt64LE(BigInt(started), 0);
  record.writeBigUInt64LE(BigInt(finished), 8);
  record.writeUInt32LE(started - finished, 20);
  post(REPORT, [record]);
}, REPORT_EVERY_MS);
