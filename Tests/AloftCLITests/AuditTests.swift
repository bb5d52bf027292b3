import Foundation
import JSON
import Testing

@testable import AloftCLI

/// `aloft audit` against a server on loopback.
@Suite struct AuditTests {
  @Test("the audit of the cloud or of one project is listed, with the filters that were given")
  func list() async throws {
    let server = try await CannedServer()
    let table = await server.aloft("audit", "list", "--user", "ada", "--refused", "--limit", "5").output
    #expect(table.split(separator: "\n").last?.contains("ada") == true)
    #expect(table.contains("no_capacity"))
    _ = await server.aloft("audit", "list", "--project", "shop")
    let requests = try await server.requests()
    #expect(requests.map { $0["path"] } == ["/v1/audit", "/v1/projects/shop/audit"])
    #expect(requests[0]["query"] == ["user": "ada", "outcome": "refused", "limit": "5"])
  }

  @Test("the export is printed as it comes")
  func export() async throws {
    let server = try await CannedServer()
    let output = await server.aloft("audit", "export", "--operation", "createVM").output
    #expect(try JSONValue.parse(Array(output.utf8))["operation"]?.stringValue == "createVM")
    #expect(try await server.requests()[0]["query"] == ["operation": "createVM"])
  }
}
