import IPAddressing
import Testing

struct IPAddressingTests {
  @Test("an address is written as it is usual", arguments: ["10.0.0.1", "2001:db8::1", "::", "fe80::a9fe:a9fe"])
  func reads(_ text: String) { #expect(IPAddress(text)?.description == text) }

  @Test("what is no address is none", arguments: ["10.0.1", "10.0.0.256", "2001:db8::1%eth0", "", "1::2::3"])
  func refuses(_ text: String) { #expect(IPAddress(text) == nil) }

  @Test("counting goes over the bytes' ends and stops at the last address")
  func advances() {
    #expect(IPAddress("10.0.0.255")?.advanced(by: 1)?.description == "10.0.1.0")
    #expect(IPAddress("10.0.0.0")?.advanced(by: 1 << 24)?.description == "11.0.0.0")
    #expect(IPAddress("fd00::ffff:ffff:ffff:ffff")?.advanced(by: 1)?.description == "fd00:0:0:1::")
    #expect(IPAddress("255.255.255.255")?.advanced(by: 1) == nil)
    #expect(IPAddress("fd00::")?.advanced(by: .max)?.description == "fd00::ffff:ffff:ffff:ffff")
  }

  @Test("addresses are ordered as numbers, IPv4 first")
  func orders() {
    let texts = ["9.0.0.1", "10.0.0.1", "::", "fd00::1", "fd00::2"]
    #expect(texts.compactMap(IPAddress.init).shuffled().sorted().map(\.description) == texts)
  }

  @Test("a block with bits of a host is none", arguments: ["10.0.0.1/24", "fd00::1/64", "10.0.0.0/33", "10.0.0.0/"])
  func refusesBlock(_ text: String) { #expect(AddressBlock(text) == nil) }

  @Test("blocks overlap when one holds the other's beginning")
  func overlaps() throws {
    let wide = try #require(AddressBlock("10.0.0.0/8"))
    let inside = try #require(AddressBlock("10.1.0.0/16"))
    let beside = try #require(AddressBlock("11.0.0.0/8"))
    let other = try #require(AddressBlock("::/0"))
    #expect(wide.overlaps(inside) && inside.overlaps(wide) && wide.contains(inside) && !inside.contains(wide))
    #expect(!wide.overlaps(beside) && !wide.overlaps(other))
    #expect(wide.last.description == "10.255.255.255" && inside.hostBits == 16)
    #expect(AddressBlock("fd00::/64")?.last.description == "fd00::ffff:ffff:ffff:ffff")
    #expect(IPAddress("10.1.2.3").flatMap { AddressBlock(of: $0, length: 16) } == inside)
  }

  @Test("a MAC address is read in any case and written in lower case")
  func mac() {
    #expect(MACAddress("02:0A:00:00:00:fF")?.description == "02:0a:00:00:00:ff")
    for text in ["02:0a:00:00:00", "02:0a:00:00:00:1", "02-0a-00-00-00-01", "+2:0a:00:00:00:01", ""] {
      #expect(MACAddress(text) == nil)
    }
    let drawn = MACAddress(locallyAdministered: .max)
    #expect(drawn.description == "fe:ff:ff:ff:ff:ff" && !drawn.isMulticast)
  }

  @Test("an interface's own IPv6 address comes from its MAC address")
  func autoconfigured() throws {
    let mac = try #require(MACAddress("02:0a:00:00:00:11"))
    #expect(mac.autoconfigured(in: try #require(AddressBlock("fd00:10::/64")))?.description == "fd00:10::a:ff:fe00:11")
    #expect(mac.autoconfigured(in: try #require(AddressBlock("fd00:10::/96"))) == nil)
  }

  @Test("a range counts its addresses, and says so when there are too many to count")
  func counts() {
    #expect(AddressRange("10.0.0.1-10.0.0.254")?.count == 254)
    #expect(AddressRange("10.0.0.255-10.0.1.0")?.count == 2)
    #expect(AddressRange("10.0.0.0-10.255.255.255")?.count == 1 << 24)
    #expect(AddressRange("fd00::-fd00::ffff")?.count == 65536)
    #expect(AddressRange("fd00::1:0-fd00::1:0")?.count == 1)
    #expect(AddressRange("fd00:0:0:1::-fd00:0:0:2::")?.count == .max)
    #expect(AddressRange("fd00::-fd00::ffff:ffff:ffff:ffff")?.count == .max)
    for text in ["10.0.0.2-10.0.0.1", "10.0.0.1-fd00::1", "10.0.0.1-", "-", "10.0.0.1-10.0.0.2-10.0.0.3"] {
      #expect(AddressRange(text) == nil)
    }
  }

  @Test("what is left of a range keeps every other address")
  func subtracts() throws {
    let range = try #require(AddressRange("10.0.0.1-10.0.1.10"))
    func left(_ text: String) throws -> [String] {
      range.subtracting(try #require(AddressRange(text))).map(\.description)
    }
    #expect(try left("10.0.1.0") == ["10.0.0.1-10.0.0.255", "10.0.1.1-10.0.1.10"])
    #expect(try left("10.0.0.0-10.0.0.1") == ["10.0.0.2-10.0.1.10"])
    #expect(try left("10.0.1.10-10.0.2.0") == ["10.0.0.1-10.0.1.9"])
    #expect(try left("0.0.0.0-255.255.255.255") == [])
    #expect(try left("11.0.0.0") == ["10.0.0.1-10.0.1.10"])
  }
}
