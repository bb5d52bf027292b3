import AloftModel
import HTTPTypes
import IPAddressing
import JSON
import Testing

@testable import NodeAgent

@Suite("Metadata service")
struct MetadataServiceTests {
  static let network = NetworkID.sample(1)
  static let vm = {
    var document = Assignment.sample().with([.sample(1), .sample(2)])
    document.nics?[0].addresses.append("fd00:10::5/64")
    return document
  }()
  static let neighbour = Assignment.sample(.sample(2)).with([.sample(3)])
  /// Another tenant's, with the very same address in a network of its own.
  static let stranger = Assignment.sample(.sample(3)).with([
    Assignment.NIC(id: .sample(4), network: .sample(9), mac: "02:00:00:00:00:04", addresses: ["10.0.0.11/24"])
  ])

  let service = {
    var service = MetadataService()
    service.directory.documents = [neighbour, vm, stranger]
    return service
  }()

  func ask(
    _ path: String, _ method: HTTPRequest.Method = .get, token: String? = nil, lifetime: String? = nil,
    forwarded: Bool = false, network: NetworkID = Self.network, from source: String = "10.0.0.11", now: Int = 100
  ) throws -> MetadataService.Answer {
    var headers = HTTPFields()
    headers[.metadataToken] = token
    headers[.metadataTokenLifetime] = lifetime
    if forwarded { headers[.forwardedFor] = "192.0.2.1" }
    return service.answer(
      MetadataService.Question(
        method: method, path: path, headers: headers, network: network, source: try #require(IPAddress(source)),
        now: now))
  }

  func token(from source: String = "10.0.0.11", network: NetworkID = Self.network, now: Int = 100) throws -> String {
    let answer = try ask("/latest/api/token", .put, lifetime: "60", network: network, from: source, now: now)
    #expect(answer.status == .ok)
    return answer.body
  }

  @Test("what cloud-init reads", arguments: ["latest", "2021-03-23", "2009-04-04"])
  func paths(version: String) throws {
    let token = try token()
    func get(_ path: String) throws -> String? {
      let answer = try ask("/\(version)/" + path, token: token)
      #expect(answer.status == .ok || answer.status == .notFound)
      return answer.status == .ok ? answer.body : nil
    }
    #expect(try get("") == "meta-data/\nuser-data")
    let index = try #require(try get("meta-data/")).split(separator: "\n")
    #expect(index.contains("instance-id") && index.contains("public-keys/") && index.contains("network/"))
    #expect(try get("meta-data") == get("meta-data/"))
    #expect(try get("meta-data/instance-id") == Self.vm.vm.description)
    #expect(try get("meta-data/hostname") == "web-1.blue.internal")
    #expect(try get("meta-data/local-hostname") == "web-1.blue.internal")
    #expect(try get("meta-data/local-ipv4") == "10.0.0.11")
    #expect(try get("meta-data/mac") == "02:00:00:00:00:01")
    #expect(try get("meta-data/public-keys/") == "0=key-0")
    #expect(try get("meta-data/public-keys/0/openssh-key") == "ssh-ed25519 AAAAC3Nza me@here")
    #expect(try get("meta-data/placement/availability-zone") == "aloft")
    let macs = "meta-data/network/interfaces/macs/"
    #expect(try get(macs) == "02:00:00:00:00:01/\n02:00:00:00:00:02/")
    #expect(try get(macs + "02:00:00:00:00:02/device-number") == "1")
    #expect(try get(macs + "02:00:00:00:00:01/local-ipv4s") == "10.0.0.11")
    #expect(try get(macs + "02:00:00:00:00:01/ipv6s") == "fd00:10::5")
    #expect(try get(macs + "02:00:00:00:00:01/subnet-ipv4-cidr-block") == "10.0.0.0/24")
    #expect(try get("user-data") == "#cloud-config\n")
    for nothing in ["meta-data/nothing", "meta-data/instance-id/more", "user-data/more", "dynamic"] {
      #expect(try get(nothing) == nil, "\(nothing)")
    }
  }

  @Test("the index names the versions; others are not there")
  func versions() throws {
    let token = try token()
    #expect(try ask("/", token: token).body.split(separator: "\n").contains("2021-03-23"))
    #expect(try ask("/1999-01-01/meta-data/", token: token).status == .notFound)
  }

  @Test("Aloft's own document tells of the machine and its interfaces")
  func document() throws {
    let answer = try ask("/aloft/v1/instance", token: try token())
    let value = try JSONValue.parse(answer.body)
    #expect(answer.type == "application/json" && value["id"]?.stringValue == Self.vm.vm.description)
    #expect(value["nics"]?[1]?["network_name"]?.stringValue == "blue")
    #expect(value["nics"]?[0]?["mtu"]?.intValue == 1442)
  }

  @Test("nothing is told without a token that is the machine's own and still good")
  func tokens() throws {
    let path = "/latest/meta-data/instance-id"
    let token = try token()
    #expect(try ask(path).status == .unauthorized)
    #expect(try ask("/").status == .unauthorized)
    #expect(try ask(path, token: token, now: 159).status == .ok)
    #expect(try ask(path, token: token, now: 160).status == .unauthorized)
    for other in [String(token.dropLast()), token + "0", "999999" + token.drop { $0 != "-" }, "", "-", "160-" + token] {
      #expect(try ask(path, token: other).status == .unauthorized, "\(other)")
    }
    #expect(try ask(path, token: token, from: "10.0.0.13").status == .unauthorized, "a neighbour's")
    #expect(try ask(path, token: token, network: .sample(9)).status == .unauthorized, "a stranger's")
    #expect(try ask(path, .post, token: token).status == .methodNotAllowed)
  }

  @Test("a token is given for a PUT with a lifetime, and to no proxy")
  func lifetimes() throws {
    for lifetime in [nil, "", "0", "21601", "-1", "x"] {
      #expect(try ask("/latest/api/token", .put, lifetime: lifetime).status == .badRequest, "\(lifetime ?? "none")")
    }
    for lifetime in ["1", "21600"] { #expect(try ask("/latest/api/token", .put, lifetime: lifetime).status == .ok) }
    #expect(try ask("/latest/api/token", .get, lifetime: "60").status == .methodNotAllowed)
    #expect(try ask("/latest/api/token", .put, lifetime: "60", forwarded: true).status == .forbidden)
    #expect(try ask("/latest/meta-data/", token: try token(), forwarded: true).status == .forbidden)
  }

  @Test("who asks is told from network and source address alone")
  func identity() throws {
    func name(_ source: String, _ network: NetworkID = Self.network) throws -> String? {
      let answer = try ask("/latest/api/token", .put, lifetime: "60", network: network, from: source)
      guard answer.status == .ok else { return nil }
      return try ask("/latest/meta-data/instance-id", token: answer.body, network: network, from: source).body
    }
    #expect(try name("10.0.0.11") == Self.vm.vm.description)
    #expect(try name("10.0.0.12") == Self.vm.vm.description, "its second interface")
    #expect(try name("fd00:10::5") == Self.vm.vm.description)
    #expect(try name("fe80::ff:fe00:1") == Self.vm.vm.description, "the link-local address of its MAC")
    #expect(try name("10.0.0.11", .sample(9)) == Self.stranger.vm.description)
    #expect(try name("10.0.0.13") == Self.neighbour.vm.description)
    #expect(try name("10.0.0.99") == nil)
    #expect(try name("fe80::1") == nil)
    #expect(try name("10.0.0.11", .sample(5)) == nil)
  }

  @Test("networks are those that a NIC of this node is in, each once")
  func networks() {
    let networks = MetadataNetwork.all(of: [Self.vm, Self.neighbour, Self.stranger])
    #expect(networks.map(\.id) == [Self.network], "the stranger's document says nothing of its network")
    let network = networks[0]
    #expect(network.mtu == 1442 && network.addresses == ["10.0.0.2/24"])
    #expect(network.device.hasPrefix("am") && network.device.utf8.count <= 15)
    #expect(MetadataNetwork.all(of: [.sample()]).isEmpty)
  }
}
