import AloftModel
import Foundation
import OVSDB
import TestSupport
import Testing

@testable import Northbound

@Suite("Many ports", .enabled(if: NorthboundDatabase.isInstalled), .timeLimit(.minutes(5)))
struct ScaleTests {
  /// What it takes is printed, not judged: machines differ.
  @Test("a cloud of 2000 ports is written whole, and then a port at a time")
  func ports() async throws {
    let clock = ContinuousClock()
    let database = try await NorthboundDatabase()
    let writer = try database.writer()
    try await writer.acquire()
    var cloud = SampleCloud()
    cloud.nics = (0..<2000).map(nic)
    let model = cloud.model
    var summary = NorthboundWriter.Summary()
    let whole = try await clock.measure { summary = try await writer.replaceAll(model) }
    #expect(summary.refusals == [])
    #expect(summary.transactions > 1)
    var each: [Duration] = []
    for number in 2000..<2050 {
      each.append(try await clock.measure { try await writer.apply([.put(.nic(nic(number)))]) })
    }
    let again = try await clock.measure { summary = try await writer.replaceAll(model) }
    // The 50 are gone again.
    #expect(try await writer.discrepancies(from: model) == [])
    each.sort()
    print(
      "2000 ports: \(whole); one more at the median: \(each[each.count / 2]), at most: \(each[each.count - 1]); "
        + "50 less by comparing all: \(again)")
  }

  private func nic(_ number: Int) -> Model.NIC {
    SampleCloud.nic(
      UInt64(number + 1), network: UInt64(1 + number % 2),
      [(number % 2 == 0 ? 1 : 3, "10.0.\(number % 2).\(number / 2 % 200 + 20)")], groups: [1], host: "vm\(number)")
  }
}
