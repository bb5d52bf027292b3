import AloftModel
import ControlPlane
import HTTPTypes
import JSON
import Testing

@Suite("Bad input")
struct BadInputTests {
  /// A call that must be refused, and how.
  struct Case: Sendable, CustomStringConvertible {
    var description: String
    var method: HTTPRequest.Method = .post
    var target = "/v1/vms"
    var bytes: [UInt8]
    var contentType: String? = "application/json"
    var status = 400
    var code: ProblemCode
    var place: String?
  }

  private static func create(
    _ what: String, _ more: (String, JSONValue)..., status: Int = 400, code: ProblemCode, place: String? = nil
  ) -> Case {
    var object: JSONObject = ["name": "web", "image": "tiny", "vcpus": 1, "memory_mib": 128, "disk_gib": 1]
    for (key, value) in more { object[key] = value }
    return Case(
      description: what, bytes: JSONValue.object(object).bytes, status: status, code: code, place: place)
  }

  static let bodies: [Case] = [
    create("an unknown field", ("vcpu", 1), code: .unknownField, place: "/vcpu"),
    create("a wrong type", ("vcpus", "two"), code: .wrongType, place: "/vcpus"),
    create("a fraction", ("vcpus", 1.5), code: .wrongType, place: "/vcpus"),
    create("null", ("name", .null), code: .wrongType, place: "/name"),
    create("too few", ("vcpus", 0), code: .outOfRange, place: "/vcpus"),
    create("too many", ("memory_mib", 99_999_999), code: .outOfRange, place: "/memory_mib"),
    create("a long name", ("name", .string(String(repeating: "a", count: 64))), code: .tooLong, place: "/name"),
    create("no name", ("name", ""), code: .tooShort, place: "/name"),
    create("capitals", ("name", "Web"), code: .badFormat, place: "/name"),
    create("an unknown power", ("power", "paused"), code: .notOneOf, place: "/power"),
    create("a bad key", ("ssh_keys", ["not a key at all, no"]), code: .badFormat, place: "/ssh_keys/0"),
    create("a bad label", ("labels", ["": "x"]), code: .tooShort),
    create("a label of a wrong type", ("labels", ["a": 1]), code: .wrongType, place: "/labels/a"),
    create("an unknown image", ("image", "nope"), status: 422, code: .imageUnknown, place: "/image"),
    create(
      "an unknown image id", ("image", "img_01h455vb4pex5vsknk084sn02q"), status: 422, code: .imageUnknown,
      place: "/image"),
    create("an image without content", ("image", "empty"), status: 409, code: .imageNotReady, place: "/image"),
    create("a taken name", ("name", "taken"), status: 409, code: .nameTaken, place: "/name"),
    Case(
      description: "a missing field", bytes: Array(#"{"name":"web"}"#.utf8), code: .missingField, place: "/image"),
    Case(description: "no body", bytes: [], code: .bodyRequired),
    Case(description: "not JSON", bytes: Array("{name: web}".utf8), code: .notJSON),
    Case(description: "half a JSON text", bytes: Array(#"{"name":"we"#.utf8), code: .notJSON),
    Case(
      description: "a field twice", bytes: Array(#"{"name":"a","name":"b","image":"tiny"}"#.utf8),
      code: .notJSON),
    Case(
      description: "bytes that are not UTF-8", bytes: Array(#"{"name":""#.utf8) + [0xff, 0xfe] + Array(#""}"#.utf8),
      code: .badEncoding),
    Case(
      description: "a large body", bytes: [UInt8](repeating: 32, count: (64 << 10) + 1), status: 413,
      code: .bodyTooLarge),
    Case(
      description: "XML", bytes: Array("<vm/>".utf8), contentType: "application/xml", status: 415,
      code: .unsupportedMediaType),
    Case(
      description: "no media type", bytes: Array("{}".utf8), contentType: nil, status: 415,
      code: .unsupportedMediaType),
  ]

  static let targets: [Case] = [
    get("an unknown parameter", "/v1/vms?colour=red", code: .unknownParameter, place: "colour"),
    get("a bad cursor", "/v1/vms?cursor=AAAA", code: .badCursor, place: "cursor"),
    get("a limit of nothing", "/v1/vms?limit=0", code: .outOfRange, place: "limit"),
    get("a limit in words", "/v1/vms?limit=many", code: .wrongType, place: "limit"),
    get("a parameter twice", "/v1/vms?limit=1&limit=2", code: .duplicateItem, place: "limit"),
    get("a name with U+0000", "/v1/operations?status=a%00b", code: .badFormat, place: "status"),
    get("a bad reference", "/v1/vms/UPPER", code: .badID, place: "vm"),
    get("an id of another kind", "/v1/operations/vm_01h455vb4pex5vsknk084sn02q", code: .badID),
    get("an unknown VM", "/v1/vms/vm_01h455vb4pex5vsknk084sn02q", status: 404, code: .notFound),
    get("an unknown project", "/v1/vms?project=nope", status: 404, code: .notFound),
    get("an unknown path", "/v1/nothing", status: 404, code: .notFound),
    Case(
      description: "an unknown method", method: .put, target: "/v1/vms", bytes: [], contentType: nil, status: 405,
      code: .methodNotAllowed),
    Case(
      description: "a change of nothing", method: .patch, target: "/v1/vms/taken", bytes: Array("{}".utf8),
      code: .tooShort),
    Case(
      description: "a resource that is no id", method: .get, target: "/v1/operations?resource=web", bytes: [],
      contentType: nil, code: .badID, place: "resource"),
  ]

  private static func get(
    _ what: String, _ target: String, status: Int = 400, code: ProblemCode, place: String? = nil
  ) -> Case {
    Case(
      description: what, method: .get, target: target, bytes: [], contentType: nil, status: status, code: code,
      place: place)
  }

  @Test("each fault has its own code, names its place, and leaves nothing behind")
  func refused() async throws {
    try await TestPlane.with { test async throws in
      try await test.makeImage()
      _ = await test.call(.post, "/v1/images", ["name": "empty"])
      _ = try await FakeAgent.join(test)
      _ = try await test.createVM("taken")
      let before = try await test.rowCounts()
      for bad in Self.bodies + Self.targets {
        var headers = ["Authorization": "Bearer \(test.token)"]
        headers["Content-Type"] = bad.contentType
        if bad.method == .post { headers["Idempotency-Key"] = "key" }
        let answer = await test.send(bad.method, bad.target, bytes: bad.bytes, headers: headers)
        #expect(answer.status == bad.status, "\(bad): \(answer)")
        #expect(answer.code == bad.code.rawValue, "\(bad): \(answer)")
        if let place = bad.place { #expect(answer.place == place, "\(bad): \(answer)") }
        #expect(answer["request_id"]?.stringValue == answer.header("X-Request-Id"))
        #expect(answer.header("Content-Type") == "application/problem+json")
      }
      #expect(try await test.rowCounts() == before)
      #expect(try await test.findings() == [])
    }
  }

  @Test("a VM that fits nowhere is refused with what was in the way, and leaves nothing")
  func noCapacity() async throws {
    try await TestPlane.with { test async throws in
      try await test.makeImage()
      let lonely = await test.call(.post, "/v1/vms", TestPlane.body("web"))
      #expect(lonely.status == 409)
      #expect(lonely.code == "no_capacity")
      #expect(lonely["refusal"]?["nodes"] == 0)
      _ = try await FakeAgent.join(test, report: FakeAgent.report(memoryMiB: 1024))
      let before = try await test.rowCounts()
      let headers = ["Idempotency-Key": "key"]
      let large = await test.call(.post, "/v1/vms", TestPlane.body("web", ("memory_mib", 2048)), headers: headers)
      #expect(large.status == 409, "\(large)")
      #expect(large.code == "no_capacity")
      #expect(large["refusal"]?["nodes"] == 1)
      #expect(large["refusal"]?["removed"]?.arrayValue?.isEmpty == false)
      #expect(large["refusal"]?["hints"]?.arrayValue?.isEmpty == false)
      #expect(try await test.rowCounts() == before)
      let explained = await test.call(
        .post, "/v1/placement/explain", ["vcpus": 1, "memory_mib": 2048, "disk_gib": 1])
      #expect(explained["fits"] == false, "\(explained)")
    }
  }
}
