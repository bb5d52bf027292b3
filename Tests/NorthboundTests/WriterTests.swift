import AloftModel
import Foundation
import IPAddressing
import OVSDB
import OVSDBTestSupport
import TestSupport
import Testing

@testable import Northbound

@Suite("Writing", .enabled(if: NorthboundDatabase.isInstalled))
struct WriterTests {
  @Test(
    "changes one by one end in exactly the rows of the whole model, and writing again writes nothing", arguments: 1...4)
  func randomChanges(seed: UInt64) async throws {
    let database = try await NorthboundDatabase()
    let writer = try await database.acquiredWriter()
    var (changes, model) = (RandomChanges(seed: seed), NetworkModel())
    for round in 0..<60 {
      let some = (0...(round % 4)).map { _ in changes.next() }
      for change in some { model.apply(change) }
      try await writer.apply(some)
      let found = try await writer.discrepancies(from: model)
      #expect(found == [], "\(found)")
    }
    let summary = try await writer.replaceAll(model)
    #expect(summary == NorthboundWriter.Summary())
    // Nothing but what is wanted: not even what nobody looks for.
    let wanted = NorthboundState(model).desired
    for table in Table.allCases {
      #expect(
        Set(writer.replica.snapshot[table.rawValue].keys)
          == Set(wanted.keys.lazy.filter { $0.table == table }.map(\.id)))
    }
    try await writer.replaceAll(NetworkModel())
    for table in Table.allCases { #expect(writer.replica.snapshot[table.rawValue].isEmpty) }
  }

  @Test("much is written in several transactions, and each leaves the database whole")
  func pieces() async throws {
    let database = try await NorthboundDatabase()
    let writer = try database.writer(operationsAtOnce: 7)
    try await writer.acquire()
    let model = SampleCloud().model
    let summary = try await writer.replaceAll(model)
    #expect(summary.transactions > 5)
    #expect(summary.refusals == [])
    #expect(try await writer.discrepancies(from: model) == [])
    #expect(try await writer.replaceAll(model).operations == 0)
    #expect(try await writer.replaceAll(NetworkModel()).refusals == [])
    for table in Table.allCases { #expect(writer.replica.snapshot[table.rawValue].isEmpty) }
  }

  @Test("one more port among many is one small transaction")
  func onePort() async throws {
    let database = try await NorthboundDatabase()
    var cloud = SampleCloud()
    cloud.nics = (1...300).map {
      SampleCloud.nic($0, network: 1, [(1, "10.0.\($0 / 200).\($0 % 200 + 20)")], groups: [1], host: "h\($0)")
    }
    let writer = try await database.acquiredWriter(cloud.model)
    var state = NorthboundState(cloud.model)
    let touched = state.apply([
      .put(.nic(SampleCloud.nic(999, network: 1, [(1, "10.0.0.9")], groups: [1], host: "new")))
    ])
    let plan = TransactionPlan(touched, desired: state.desired, actual: writer.replica.snapshot)
    let operations = plan.pieces.flatMap(\.self)
    #expect(operations.count == 5)
    for operation in operations {
      guard case .mutate(_, _, let mutations) = operation else { continue }
      #expect(mutations.count == 1)
      #expect(mutations[0].value.uuids?.count ?? mutations[0].value.stringMap?.count ?? 0 <= 2)
    }
  }

  @Test("what others change or delete comes back, and what is others' stays")
  func repairs() async throws {
    let database = try await NorthboundDatabase()
    let model = SampleCloud().model
    let writer = try await database.acquiredWriter(model)
    let other = try database.client()
    let port = id(1, NICID.self).uuid
    let foreign = UUID()
    try await other.transact([
      .insert(
        table: "Logical_Switch", row: ["name": "theirs", "external_ids": .map(["k": "v"])], as: .identified(foreign)),
      .delete(table: "Logical_Router", where: []),
      .delete(table: "DHCP_Options", where: []),
      .update(table: "ACL", where: [], row: ["priority": 7, "action": "drop"]),
      .update(table: "Logical_Switch_Port", where: [.row(port)], row: ["addresses": "unknown"]),
      .mutate(
        table: "Logical_Switch_Port", where: [.row(port)],
        mutations: [Mutation("external_ids", .insert, .map(["theirs": "too"]))]),
      .mutate(
        table: "Logical_Switch", where: [.row(id(2, NetworkID.self).uuid)],
        mutations: [Mutation("ports", .delete, .uuid(id(3, NICID.self).uuid))]),
    ])
    try await converges(writer, to: model)
    #expect(writer.replica.snapshot["Logical_Switch"][foreign]?["name"] == "theirs")
    #expect(writer.replica.snapshot["Logical_Switch_Port"][port]?["external_ids"]?.stringMap?["theirs"] == "too")
    // Rows that say that they are ours, and are not wanted, go.
    let stray = UUID()
    try await other.transact([
      .insert(
        table: "DNS", row: ["external_ids": .map(["aloft-owner": NetworkID(stray).description])],
        as: .identified(stray))
    ])
    try await eventually("the stray row is gone") { writer.replica.snapshot["DNS"][stray] == nil }
  }

  @Test("what differs is told in words, and nothing is changed by that")
  func check() async throws {
    let database = try await NorthboundDatabase()
    var cloud = SampleCloud()
    let writer = try await database.acquiredWriter(cloud.model)
    await writer.resign()
    cloud.nics[0].node = id(7)
    cloud.nics[1].network = id(77)
    let nic = SampleCloud.nic(9, network: 1, [])
    cloud.nics.append(nic)
    let reader = try database.writer()
    let found = try await reader.discrepancies(from: cloud.model)
    let texts = found.map(\.description)
    #expect(texts.contains("Logical_Switch_Port \(nic.id.port) of \(nic.id) is missing"))
    #expect(texts.contains("Logical_Switch_Port \(cloud.nics[0].id.port) of \(cloud.nics[0].id) differs in options"))
    #expect(texts.contains("Logical_Switch_Port \(cloud.nics[1].id.port) of \(cloud.nics[1].id) should not exist"))
    #expect(try await reader.discrepancies(from: cloud.model) == found)
    try await database.server.kill()
    let error = await northboundError { () async throws(NorthboundError) in
      _ = try await reader.discrepancies(from: NetworkModel(), timeout: .milliseconds(200))
    }
    #expect(error?.kind == .unavailable || error?.kind == .outcomeUnknown)
  }

  @Test("what the server does not take stops nothing else")
  func refused() async throws {
    let database = try await NorthboundDatabase()
    let other = try database.client()
    let cloud = SampleCloud()
    // Somebody's switch has a port of the name that a NIC's must have.
    try await other.transact([
      .insert(table: "Logical_Switch", row: ["name": "theirs", "ports": .namedUUID("p")]),
      .insert(table: "Logical_Switch_Port", row: ["name": .string(cloud.nics[0].id.port)], as: .named("p")),
    ])
    let writer = try database.writer()
    try await writer.acquire()
    let summary = try await writer.replaceAll(cloud.model)
    #expect(summary.refusals.count == 1)
    #expect(try await writer.discrepancies(from: cloud.model).contains { $0.owner == cloud.nics[0].id.description })
    let fine = SampleCloud.nic(10, network: 1, [(1, "10.0.0.99")], groups: [1])
    try await writer.apply([.put(.nic(fine))])
    #expect(writer.replica.snapshot["Logical_Switch_Port"][fine.id.uuid] != nil)
    var blocked = cloud.nics[0]
    blocked.hostname = "other"
    #expect(summary.refused.keys.map(\.self) == [.nic(blocked.id)])
    // Also where nothing changes, and not as the matter of others in the same switch.
    let later = SampleCloud.nic(11, network: 1, [(1, "10.0.0.98")], groups: [1])
    #expect(try await writer.apply([.put(.nic(later))]) == [:])
    for _ in 0..<2 {
      let refused = try await writer.apply([.put(.nic(blocked))])
      #expect(refused.keys.map(\.self) == [.nic(blocked.id)])
      #expect(refused[.nic(blocked.id)]?.contains(blocked.id.port) == true, "\(refused)")
    }
    try await other.transact([.delete(table: "Logical_Switch", where: [Condition("name", .equal, "theirs")])])
    try await writer.apply([.remove(.nic(later.id))])
    #expect(try await writer.apply([.put(.nic(cloud.nics[0]))]) == [:])
    let found = try await writer.discrepancies(from: Model(cloud.objects + [.nic(fine)]))
    #expect(found == [], "\(found)")
  }

  @Test("what moves from one parent to another gets there though something else of the same changes is refused")
  func movesBesideRefusal() async throws {
    let database = try await NorthboundDatabase()
    let other = try database.client()
    var cloud = SampleCloud()
    var second = cloud.router
    second.id = id(2)
    second.interfaces = []
    let writer = try await database.acquiredWriter(Model(cloud.objects + [.router(second)]))
    let blocked = SampleCloud.nic(10, network: 1, [(1, "10.0.0.99")])
    try await other.transact([
      .insert(table: "Logical_Switch", row: ["name": "theirs", "ports": .namedUUID("p")]),
      .insert(table: "Logical_Switch_Port", row: ["name": .string(blocked.id.port)], as: .named("p")),
    ])
    cloud.floatingIP.router = second.id
    let refused = try await writer.apply([.put(.floatingIP(cloud.floatingIP)), .put(.nic(blocked))])
    #expect(refused.keys.map(\.self) == [.nic(blocked.id)])
    let routers = writer.replica.snapshot["Logical_Router"]
    #expect(routers[second.id.uuid]?["nat"]?.uuids?.contains(cloud.floatingIP.id.uuid) == true)
    let found = try await writer.discrepancies(from: Model(cloud.objects + [.router(second)]))
    #expect(!found.contains { ["Logical_Router", "NAT"].contains($0.table) }, "\(found)")
  }

  @Test("the states of ports are told, all of them first")
  func portStates() async throws {
    let database = try await NorthboundDatabase()
    let cloud = SampleCloud()
    let writer = try await database.acquiredWriter(cloud.model)
    var states = writer.portStates.makeAsyncIterator()
    let first = try await states.next() ?? []
    #expect(Set(first.map(\.nic)) == Set(cloud.nics.map(\.id)))
    #expect(first.filter(\.isUp).isEmpty)
    let northd = try database.client()
    let port = cloud.nics[1].id
    for isUp in [true, false] {
      try await northd.transact([
        .update(table: "Logical_Switch_Port", where: [.row(port.uuid)], row: ["up": .boolean(isUp)])
      ])
      let next = try await states.next() ?? []
      #expect(next.map(\.nic) == [port])
      #expect(next.map(\.isUp) == [isUp])
    }
  }
}
