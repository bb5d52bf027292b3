import Foundation
import OVSDB
import OVSDBTestSupport
import TestSupport

@testable import Northbound

/// A server of OVN's northbound database, without OVN.
struct NorthboundDatabase {
  static let schema = "/usr/share/ovn/ovn-nb.ovsschema"
  static let isInstalled = FileManager.default.isReadableFile(atPath: schema)

  let server: OVSDBServer

  init() async throws {
    server = try await OVSDBServer(schema: try String(contentsOfFile: Self.schema, encoding: .utf8))
  }

  func client() throws -> OVSDBClient { try server.client { $0.database = "OVN_Northbound" } }

  func writer(operationsAtOnce: Int = 1000) throws -> NorthboundWriter {
    NorthboundWriter(
      client: try client(), operationsAtOnce: operationsAtOnce, logger: TestLogs.logger("northbound"))
  }

  /// One that writes already.
  func acquiredWriter(_ model: NetworkModel = NetworkModel()) async throws -> NorthboundWriter {
    let writer = try writer()
    try await writer.acquire()
    try await writer.replaceAll(model)
    return writer
  }
}

/// Waits until nothing differs.
func converges(_ writer: NorthboundWriter, to model: NetworkModel) async throws {
  try await eventually("the database is as the model wants it") {
    try await writer.discrepancies(from: model).isEmpty
  }
}

/// The error that was thrown, if one was.
func northboundError(_ body: () async throws(NorthboundError) -> Void) async -> NorthboundError? {
  do throws(NorthboundError) { try await body() } catch { return error }
  return nil
}
