import AloftModel
import Foundation
import OVSDB
import OVSDBTestSupport
import TestSupport
import Testing

@testable import Northbound

@Suite("Who writes", .enabled(if: NorthboundDatabase.isInstalled))
struct TermTests {
  @Test("one writes at a time; the next begins when it resigns, and the first cannot write any more")
  func handover() async throws {
    let database = try await NorthboundDatabase()
    let cloud = SampleCloud()
    let (first, second) = (try await database.acquiredWriter(cloud.model), try database.writer())
    async let acquired: Void = second.acquire()
    try await first.apply([.remove(.nic(cloud.nics[0].id))])
    async let ended: Void = first.termEnded()
    await first.resign()
    await ended
    try await acquired
    let error = await northboundError { () async throws(NorthboundError) in
      try await first.apply([.put(.nic(cloud.nics[0]))])
    }
    #expect(error?.kind == .notWriter)
    let early = await northboundError { () async throws(NorthboundError) in
      try await second.apply([.put(.nic(cloud.nics[0]))])
    }
    #expect(early?.kind == .notWriter)
    #expect(try await second.replaceAll(cloud.model).operations > 0)
    #expect(try await second.discrepancies(from: cloud.model) == [])
  }

  @Test("a writer whose lock was stolen, or whose mark was replaced, writes nothing more", arguments: [true, false])
  func fenced(steals: Bool) async throws {
    let database = try await NorthboundDatabase()
    let cloud = SampleCloud()
    let writer = try await database.acquiredWriter(cloud.model)
    let thief = try database.client()
    if steals {
      try await thief.lock(NorthboundWriter.lockName, steal: true).acquired()
      await writer.termEnded()
    } else {
      try await thief.transact([
        .mutate(
          table: "NB_Global", where: [],
          mutations: [Mutation("external_ids", .delete, .strings(["aloft-writer"]))])
      ])
    }
    let error = await northboundError { () async throws(NorthboundError) in
      try await writer.apply([.remove(.nic(cloud.nics[0].id))])
    }
    #expect(error?.kind == .notWriter)
    #expect(try await writer.discrepancies(from: cloud.model) == [])
    // Nor does it put anything right.
    try await thief.transact([.delete(table: "DNS", where: [])])
    #expect(try await writer.discrepancies(from: cloud.model) != [])
  }

  @Test(
    "a writer that waits takes the lock from one that does nothing with it, and is the one that writes from then on")
  func overtakes() async throws {
    let database = try await NorthboundDatabase()
    let cloud = SampleCloud()
    let (frozen, writer) = (try await database.acquiredWriter(cloud.model), try database.writer())
    await writer.overtake()
    #expect(await !writer.isQueued, "nothing is taken by who does not wait")
    async let acquired: Void = writer.acquire()
    try await eventually("it waits") { await writer.isQueued }
    await writer.overtake()
    try await acquired
    let error = await northboundError { () async throws(NorthboundError) in
      try await frozen.apply([.remove(.nic(cloud.nics[0].id))])
    }
    #expect(error?.kind == .notWriter)
    try await writer.replaceAll(cloud.model)
    try await writer.apply([.remove(.nic(cloud.nics[0].id))])
    // Who has lost it waits in turn.
    async let again: Void = frozen.acquire()
    try await eventually("it waits") { await frozen.isQueued }
    await writer.resign()
    try await again
  }

  @Test("a writer that goes in the middle leaves what the next one completes", arguments: [1, 4, 9])
  func diesInTheMiddle(after transactions: Int) async throws {
    let database = try await NorthboundDatabase()
    let client = try database.client()
    let model = SampleCloud().model
    let first = NorthboundWriter(client: client, operationsAtOnce: 5, logger: TestLogs.logger("northbound"))
    try await first.acquire()
    let begun = Task {
      await northboundError { () async throws(NorthboundError) in _ = try await first.replaceAll(model) }
    }
    let seen = first.replica.snapshot.revision
    try await eventually("some of it is written") { first.replica.snapshot.revision >= seen + UInt64(transactions) }
    client.close()
    _ = await begun.value
    let second = try database.writer(operationsAtOnce: 5)
    try await second.acquire()
    try await second.replaceAll(model)
    #expect(try await second.discrepancies(from: model) == [])
    #expect(try await second.replaceAll(model).operations == 0)
  }

  @Test("a server that is killed ends the term; changes are refused, and written when it is back")
  func serverKilled() async throws {
    let database = try await NorthboundDatabase()
    var cloud = SampleCloud()
    let writer = try await database.acquiredWriter(cloud.model)
    try await database.server.kill()
    await writer.termEnded()
    cloud.nics.removeFirst()
    let error = await northboundError { () async throws(NorthboundError) in
      try await writer.apply([.remove(.nic(id(1)))])
    }
    #expect(error?.kind == .notWriter)
    try await database.server.start()
    try await writer.acquire()
    let summary = try await writer.replaceAll(cloud.model)
    #expect(summary.operations > 0)
    #expect(try await writer.discrepancies(from: cloud.model) == [])
  }

  @Test("a server that is killed again and again while changes are written ends as the model wants it")
  func serverKilledOften() async throws {
    let database = try await NorthboundDatabase()
    let writer = try database.writer(operationsAtOnce: 5)
    var (changes, model) = (RandomChanges(seed: 7), NetworkModel())
    for _ in 0..<5 {
      try await writer.acquire()
      try await writer.replaceAll(model)
      let killer = Task { try await database.server.kill() }
      var error: NorthboundError?
      while error == nil {
        let change = changes.next()
        // What was accepted stays wanted, whether it could be written or not.
        model.apply(change)
        error = await northboundError { () async throws(NorthboundError) in try await writer.apply([change]) }
      }
      #expect(error?.kind != .refused)
      try await killer.value
      await writer.termEnded()
      try await database.server.start()
    }
    try await writer.acquire()
    try await writer.replaceAll(model)
    #expect(try await writer.discrepancies(from: model) == [])
  }
}
