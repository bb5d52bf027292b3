import FoundationEssentials
import JSON
import Testing

@Suite("Codable bridge")
struct CoderTests {
  enum State: String, Codable { case running, shutOff }
  enum Source: Codable, Equatable {
    case image(imageId: String)
    case blank
  }
  struct Disk: Codable, Equatable {
    var sizeGib: Int
    var source: Source
  }
  struct Machine: Codable, Equatable {
    var id: UUID
    var displayName: String
    var memoryMib: Int
    var createdAt: Date
    var deletedAt: Date?
    var labels: [String: String]
    var disks: [Disk]
    var byPoolName: [String: Disk]
    var state: State
    var ratio: Double
    var sourceURL: URL
    var anything: JSONValue
    var ipv4_address: String?
  }
  struct Empty: Codable {}

  static func machine() throws -> Machine {
    let disk = Disk(sizeGib: 10, source: .image(imageId: "img_1"))
    return Machine(
      id: try #require(UUID(uuidString: "f81d4fae-7dec-11d0-a765-00a0c91e6bf6")), displayName: "a \"b\"",
      memoryMib: 2048, createdAt: Date(timeIntervalSince1970: 1.5), labels: ["camelCase": "x", "a/b": "y"],
      disks: [disk, Disk(sizeGib: 1, source: .blank)], byPoolName: ["fastPool": disk], state: .shutOff, ratio: 1.5,
      sourceURL: try #require(URL(string: "https://example.org/x")), anything: ["keepThis": [1, nil]])
  }

  static let text =
    #"{"id":"f81d4fae-7dec-11d0-a765-00a0c91e6bf6","display_name":"a \"b\"","memory_mib":2048,"#
    + #""created_at":"1970-01-01T00:00:01.500Z","labels":{"a/b":"y","camelCase":"x"},"#
    + #""disks":[{"size_gib":10,"source":{"image":{"image_id":"img_1"}}},{"size_gib":1,"source":{"blank":{}}}],"#
    + #""by_pool_name":{"fastPool":{"size_gib":10,"source":{"image":{"image_id":"img_1"}}}},"state":"shutOff","#
    + #""ratio":1.5,"source_url":"https://example.org/x","anything":{"keepThis":[1,null]}}"#

  @Test("types are encoded in snake_case with dictionary keys untouched")
  func encodes() throws {
    #expect(String(decoding: try JSONCoder.encode(try Self.machine()), as: UTF8.self) == Self.text)
  }

  @Test("what was encoded is decoded to an equal value")
  func roundTrip() throws {
    #expect(try JSONCoder.decode(Machine.self, from: Array(Self.text.utf8)) == Self.machine())
    #expect(String(decoding: try JSONCoder.encode(Empty()), as: UTF8.self) == "{}")
    #expect(String(decoding: try JSONCoder.encode([Empty(), Empty()]), as: UTF8.self) == "[{},{}]")
    #expect(String(decoding: try JSONCoder.encode([1, nil]), as: UTF8.self) == "[1,null]")
  }

  static let faults: [(String, String, String)] = [
    (#"{"size_gib":"x","source":{"blank":{}}}"#, "/size_gib", "must be an integer, not string"),
    (#"{"source":{"blank":{}}}"#, "/size_gib", "missing"),
    (#"{"size_gib":1.5,"source":{"blank":{}}}"#, "/size_gib", "whole number"),
    (#"{"size_gib":null,"source":{"blank":{}}}"#, "/size_gib", "not null"),
    (#"{"size_gib":1,"source":{"image":{"image_id":7}}}"#, "/source/image/image_id", "must be a string"),
    (#"[]"#, "", "must be an object, not array"), (#"{"#, "", "not JSON: line 1"),
  ]

  @Test("decoding errors tell the JSON pointer", arguments: faults)
  func errors(_ text: String, _ pointer: String, _ message: String) {
    #expect {
      try JSONCoder.decode(Disk.self, from: Array(text.utf8))
    } throws: {
      guard let error = $0 as? JSONDecodingError else { return false }
      return error.pointer.description == pointer && error.message.contains(message)
    }
  }

  @Test("errors inside arrays and dictionaries tell index and raw key")
  func nestedErrors() {
    #expect {
      try JSONCoder.decode([String: [Int8]].self, from: Array(#"{"camelCase":[1,200]}"#.utf8))
    } throws: {
      ($0 as? JSONDecodingError)?.pointer.description == "/camelCase/1"
    }
    #expect {
      try JSONCoder.decode([Date].self, from: Array(#"["2026-01-01T00:00:00Z","today"]"#.utf8))
    } throws: {
      ($0 as? JSONDecodingError)?.pointer.description == "/1"
    }
  }

  struct Flattened: Codable {
    var disk: Disk
    var kindName: String
    enum CodingKeys: String, CodingKey { case kindName }
    func encode(to encoder: any Encoder) throws {
      try disk.encode(to: encoder)
      var container = encoder.container(keyedBy: CodingKeys.self)
      try container.encode(kindName, forKey: .kindName)
    }
    init(disk: Disk, kindName: String) { (self.disk, self.kindName) = (disk, kindName) }
    init(from decoder: any Decoder) throws {
      disk = try Disk(from: decoder)
      kindName = try decoder.container(keyedBy: CodingKeys.self).decode(String.self, forKey: .kindName)
    }
  }

  @Test("two types flattened into one object share its braces")
  func flattened() throws {
    let bytes = try JSONCoder.encode(Flattened(disk: Disk(sizeGib: 1, source: .blank), kindName: "k"))
    #expect(String(decoding: bytes, as: UTF8.self) == #"{"size_gib":1,"source":{"blank":{}},"kind_name":"k"}"#)
    #expect(try JSONCoder.decode(Flattened.self, from: bytes).kindName == "k")
  }
}
