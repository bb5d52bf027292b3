import FoundationEssentials
import JSON
import Testing

/// Prints figures for eyes; asserts nothing about time, which belongs to whoever else runs on the machine.
@Suite("JSON speed, printed")
struct SpeedTests {
  struct Item: Codable {
    var itemId = "vol_01h455vb4pex5vsknk084sn02q"
    var displayName = "a volume of middling size"
    var sizeGib = 40
    var createdAt = Date(timeIntervalSince1970: 1_770_091_506.789)
    var labels = ["role": "db", "tier": "gold"]
  }

  func write(_ item: Item, _ writer: inout JSONWriter) {
    writer.object {
      $0.field("item_id", item.itemId)
      $0.field("display_name", item.displayName)
      $0.field("size_gib", item.sizeGib)
      $0.field("created_at", item.createdAt)
      $0.field("labels", item.labels)
    }
  }

  @Test("a 2 kB object is written, encoded, parsed and decoded")
  func figures() throws {
    let items = [Item](repeating: Item(), count: 12)
    let bytes = try JSONCoder.encode(items)
    func measure(_ what: String, _ body: () throws -> Void) rethrows {
      let rounds = 2000
      let elapsed = try ContinuousClock().measure { for _ in 0..<rounds { try body() } }
      print("\(what) \(bytes.count) B: \(elapsed / rounds)")
    }
    measure("write") {
      var writer = JSONWriter(capacity: 4096)
      writer.array { for item in items { write(item, &$0) } }
      #expect(writer.bytes.count == bytes.count)
    }
    try measure("encode") { _ = try JSONCoder.encode(items) }
    try measure("parse") { _ = try JSONValue.parse(bytes) }
    try measure("decode") { _ = try JSONCoder.decode([Item].self, from: bytes) }
  }
}
