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
