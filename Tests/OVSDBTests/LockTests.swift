import Execution
import Glibc
import OVSDBTestSupport
import TestSupport
import Testing

@testable import OVSDB

@Suite("Locks")
struct LockTests {
  @Test("the next in the queue gets the lock when its holder's connection ends")
  func handover() async throws {
    let server = try await OVSDBServer()
    let (first, second) = (try server.client(), try server.client())
    let held = try first.lock("writer")
    try await held.acquired()
    let waiting = try second.lock("writer")
    try await eventually("it waits") { waiting.status == .waiting }
    let error = await failure { try await second.transact([.assert(lock: "writer"), .comment("x")]) }
    #expect(error?.fault?.code == .notOwner)
    try await first.transact([.assert(lock: "writer"), .comment("x")])
    first.close()
    try await waiting.acquired()
    try await second.transact([.assert(lock: "writer"), .comment("x")])
    #expect(held.status == .released)
  }

  @Test("a lock can be given back, and stolen; who lost it queues again")
  func stealAndUnlock() async throws {
    let server = try await OVSDBServer()
    let (first, second) = (try server.client(), try server.client())
    let held = try first.lock("writer")
    try await held.acquired()
    let stolen = try second.lock("writer", steal: true)
    try await stolen.acquired()
    try await eventually("the first knows") { held.status == .stolen }
    second.unlock(stolen)
    try await held.acquired()
    try await first.transact([.assert(lock: "writer"), .comment("x")])
  }

  @Test("a lock whose holder is killed goes to the next")
  func killedHolder() async throws {
    let server = try await OVSDBServer()
    let client = try server.client()
    let holder = try spawn(["ovsdb-client", "lock", server.remote.description, "writer"])
    // Whoever comes first waits for nobody: the other process has to be seen to hold it.
    try await eventually("the other process holds it") {
      let trial = try client.lock("writer")
      try await eventually("there is an answer") { trial.status != .disconnected }
      let waits = trial.status == .waiting
      client.unlock(trial)
      return waits
    }
    let lock = try client.lock("writer")
    try await eventually("it waits") { lock.status == .waiting }
    kill(holder, SIGKILL)
    try await lock.acquired()
    try await client.transact([.assert(lock: "writer"), .comment("x")])
    await DedicatedThread(name: "reap").run { _ = reap(holder) }
  }

  @Test("whoever waits for a lock is told when the client is closed or the lock given back")
  func ends() async throws {
    let server = try await OVSDBServer()
    let (first, second) = (try server.client(), try server.client())
    try await first.lock("a").acquired()
    try await first.lock("b").acquired()
    let (one, two) = (try second.lock("a"), try second.lock("b"))
    async let unlocked = failure { try await one.acquired() }
    async let closed = failure { try await two.acquired() }
    try await eventually("both wait") { one.status == .waiting && two.status == .waiting }
    second.unlock(one)
    #expect(await unlocked?.kind == .closed)
    second.close()
    #expect(await closed?.kind == .closed)
  }

  @Test("a lock is asked for again after the server was killed and started again")
  func reconnect() async throws {
    let server = try await OVSDBServer()
    let client = try server.client()
    let lock = try client.lock("writer")
    try await lock.acquired()
    try await server.kill()
    try await eventually("it is lost") { lock.status == .disconnected }
    try await server.start()
    try await lock.acquired()
    try await client.transact([.assert(lock: "writer"), .comment("x")])
  }

  @Test("a name that is none is refused, and so is asking twice")
  func misuse() async throws {
    let server = try await OVSDBServer()
    let client = try server.client()
    #expect(throws: OVSDBError.self) { try client.lock("not a name") }
    let lock = try client.lock("writer")
    let again = try client.lock("writer")
    try await lock.acquired()
    let error = await failure { try await again.acquired() }
    #expect(error?.fault != nil)
  }
}
