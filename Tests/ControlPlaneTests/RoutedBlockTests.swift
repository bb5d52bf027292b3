import AloftModel
import Foundation
import JSON
import Postgres
import Testing

@testable import ControlPlane

@Suite("What is routed to projects")
struct RoutedBlockTests {
  private static let path = "/v1/external-networks/internet/routed-blocks"

  @Test("an operator routes blocks to projects, the project's routers show it, and nobody else sees whose they are")
  func routing() async throws {
    try await TestPlane.with { test async throws in
      try await test.makeInternet()
      try await test.make(
        "external-networks/internet/subnets", ["name": "internet-v6", "cidr": "2001:db8:0:1::/64"])
      try await test.makeNetwork("blue", "10.0.0.0/24", "2001:db8:100::/64")
      try await test.make("routers", ["name": "gate", "external_network": "internet"])
      for subnet in ["blue-v4", "blue-v6"] {
        #expect(await test.call(.put, "/v1/routers/gate/interfaces/\(subnet)").status == 200)
      }
      func outbound() async -> [String] {
        await test.call(.get, "/v1/routers/gate")["interfaces"]?.arrayValue?.compactMap { $0["outbound"]?.stringValue }
          ?? []
      }
      #expect(await outbound() == ["translated", "none"])
      _ = try await test.toldChanges()
      let routed = await test.call(
        .put, Self.path, ["blocks": [["cidr": "2001:db8:100::/48", "project": "default"]]])
      #expect(routed.status == 200 && routed["blocks"]?[0]?["cidr"] == "2001:db8:100::/48", "\(routed)")
      #expect(routed["blocks"]?[0]?["project_id"]?.stringValue?.hasPrefix("prj_") == true)
      #expect(try await test.toldChanges().contains("external_network"))
      #expect(await outbound() == ["translated", "routed"])
      #expect(await test.call(.patch, "/v1/routers/gate", ["snat": false]).status == 200)
      #expect(await outbound() == ["none", "routed"])

      let objects = try await test.database.transaction { session in
        try NetworkObjects.externalNetworks(.all, in: session)
      }
      guard case .externalNetwork(let network)? = objects.first else { throw CancellationError() }
      #expect(network.routedBlocks.map(\.cidr.description) == ["2001:db8:100::/48"])

      #expect(await test.call(.get, Self.path)["blocks"] == routed["blocks"])
      let member = TestPlane.bearer(try await test.makeToken(["default": .member]))
      #expect(await test.call(.get, Self.path, headers: member).code == "forbidden")
      #expect(await test.call(.put, Self.path, ["blocks": []], headers: member).code == "forbidden")
      #expect(await test.call(.put, Self.path, ["blocks": []], headers: ["If-Match": "\"1\""]).status == 412)
      #expect(await test.call(.put, Self.path, ["blocks": []])["blocks"] == [])
      #expect(await outbound() == ["none", "none"])
    }
  }

  @Test("a block that cannot be routed is refused with the place, and the list stays as it is")
  func refusals() async throws {
    try await TestPlane.with { test async throws in
      try await test.makeInternet()
      #expect(
        await test.call(.put, Self.path, ["blocks": [["cidr": "198.18.0.0/15", "project": "default"]]]).status == 200)
      let cases: [(JSONValue, String, String, String)] = [
        ([["cidr": "10.0.0.1/8", "project": "default"]], "bad_format", "/blocks/0/cidr", "10.0.0.0/8"),
        ([["cidr": "203.0.0.0/8", "project": "default"]], "addresses_overlap", "/blocks/0/cidr", "internet-v4"),
        ([["cidr": "10.0.0.0/8", "project": "nobody"]], "not_found", "/blocks/0/project", "nobody"),
        (
          [["cidr": "10.0.0.0/8", "project": "default"], ["cidr": "10.1.0.0/16", "project": "default"]],
          "addresses_overlap", "/blocks/1/cidr", "10.0.0.0/8"
        ),
      ]
      for (blocks, code, place, word) in cases {
        let answer = await test.call(.put, Self.path, ["blocks": blocks])
        #expect(answer.code == code && answer.place == place, "\(blocks): \(answer)")
        #expect(answer["detail"]?.stringValue?.contains(word) == true, "\(answer)")
      }
      #expect(await test.call(.get, Self.path)["blocks"]?.arrayValue?.count == 1)
      let subnet = await test.call(
        .post, "/v1/external-networks/internet/subnets", ["name": "more", "cidr": "198.18.5.0/24"])
      #expect(subnet.code == "addresses_overlap" && subnet.place == "/cidr", "\(subnet)")
    }
  }
}
