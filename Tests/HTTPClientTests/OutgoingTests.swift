import IPAddressing
import HTTPTypes
import TestSupport
import Testing

@testable import HTTPClient

@Suite("HTTPClient: outgoing rule")
struct OutgoingTests {
  private static let refused: [(String, OutgoingRule.Refusal)] = [
    ("0.0.0.0", .unspecified), ("0.1.2.3", .unspecified), ("127.0.0.1", .loopback), ("127.255.255.255", .loopback),
    ("169.254.169.254", .linkLocal), ("169.254.0.1", .linkLocal), ("10.0.0.1", .private), ("10.255.255.255", .private),
    ("172.16.0.0", .private), ("172.31.255.255", .private), ("192.168.0.1", .private), ("100.64.0.1", .shared),
    ("100.127.255.255", .shared), ("192.0.2.1", .documentation), ("198.51.100.9", .documentation),
    ("203.0.113.200", .documentation), ("192.0.0.8", .reserved), ("192.88.99.1", .reserved),
    ("198.18.0.1", .benchmarking),
    ("198.19.255.255", .benchmarking), ("224.0.0.1", .multicast), ("239.255.255.255", .multicast),
    ("255.255.255.255", .broadcast), ("240.0.0.1", .reserved),
    ("::", .unspecified), ("::1", .loopback), ("fe80::1", .linkLocal), ("febf::1", .linkLocal), ("fec0::1", .private),
    ("fc00::1", .private), ("fd00:ec2::254", .private), ("ff02::1", .multicast), ("2001:db8::1", .documentation),
    ("3fff::1", .documentation), ("2001:2::1", .benchmarking), ("100::1", .reserved), ("5f00::1", .reserved),
    ("::ffff:127.0.0.1", .loopback), ("::ffff:10.1.2.3", .private), ("::ffff:169.254.169.254", .linkLocal),
    ("::127.0.0.1", .reserved), ("::8.8.8.8", .reserved), ("64:ff9b::127.0.0.1", .loopback),
    ("64:ff9b::a9fe:a9fe", .linkLocal), ("64:ff9b:1::8.8.8.8", .reserved), ("2002:7f00:1::1", .loopback),
    ("2002:c0a8:1::", .private), ("2002:a9fe:a9fe::", .linkLocal),
    // Teredo: server 65.54.227.120, client 192.0.2.45, as in RFC 4380; and one that wraps a private client.
    ("2001:0:4136:e378:8000:63bf:3fff:fdd2", .reserved), ("2001:0:808:808::f5ff:fffe", .reserved),
    ("2001:20::1", .reserved), ("0:0:0:0:ffff:7f00:1:0", .reserved),
  ]

  @Test("addresses that are not public are refused, in every form")
  func table() throws {
    let rule = OutgoingRule()
    for (text, refusal) in Self.refused {
      #expect(rule.refusal(of: try #require(IPAddress(text), "\(text)")) == refusal, "\(text)")
    }
    for text in [
      "1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255",
      "128.0.0.1",
      "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.0.1.0", "192.167.255.255", "192.169.0.0",
      "198.17.255.255", "198.20.0.0", "223.255.255.255", "2606:4700::1111", "2a00:1450:4001::1", "2001:4860:4860::8888",
      "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1",
    ] {
      #expect(rule.refusal(of: try #require(IPAddress(text))) == nil, "\(text)")
    }
    #expect(Set(Self.refused.map(\.1)) == Set(OutgoingRule.Refusal.allCases))
  }

  @Test("what the operator allows is allowed, also inside of an IPv6 address, and nothing beside it")
  func allowed() throws {
    let rule = OutgoingRule(allowed: ["10.1.0.0/16", "fd00:1::/32", "192.168.7.9"].compactMap { AddressBlock($0) })
    for text in ["10.1.255.255", "::ffff:10.1.0.1", "64:ff9b::a01:1", "fd00:1::9", "192.168.7.9"] {
      #expect(rule.refusal(of: try #require(IPAddress(text))) == nil, "\(text)")
    }
    for text in ["10.2.0.0", "10.0.255.255", "fd00:2::9", "192.168.7.8", "127.0.0.1", "::ffff:10.2.0.1"] {
      #expect(rule.refusal(of: try #require(IPAddress(text))) != nil, "\(text)")
    }
  }

  @Test("blocks are read as they are written; what may be meant in two ways is none")
  func blocks() throws {
    for text in ["10.0.0.0/8", "fc00::/7", "0.0.0.0/0", "::/0", "192.0.2.1/32"] {
      #expect(AddressBlock(text)?.description == text)
    }
    #expect(AddressBlock("192.0.2.1")?.description == "192.0.2.1/32")
    for text in [
      "10.1.2.3/8", "10.0.0.0/33", "10.0.0.0/-1", "10/8", "10.0.0.0/", "", "/8", "fe80::1%eth0/64", "x/8", "::/129",
    ] {
      #expect(AddressBlock(text) == nil, "\(text)")
    }
    #expect(try #require(AddressBlock("0.0.0.0/0")).contains(try #require(IPAddress("9.9.9.9"))))
    #expect(try !#require(AddressBlock("0.0.0.0/0")).contains(try #require(IPAddress("2606:4700::1"))))
  }

  @Test("a URL is judged as far as it can be before anything is resolved")
  func urls() {
    func judge(_ url: String, http: Bool = false) -> OutgoingURL.Refusal? {
      OutgoingURL.refusal(of: url, rule: OutgoingRule(), allowsHTTP: http)
    }
    for url in [
      "https://example.com", "https://example.com:8443/a?b=c", "https://8.8.8.8/", "https://[2606:4700::1]/x",
    ] {
      #expect(judge(url) == nil, "\(url)")
    }
    #expect(judge("http://example.com") == .notEncrypted)
    #expect(judge("http://example.com", http: true) == nil)
    for url in [
      "https://127.0.0.1/", "https://2130706433/", "https://0x7f.1/", "https://0177.0.0.1/", "https://127.1/",
      "https://[::1]:9/", "https://[::ffff:7f00:1]/", "https://%31%32%37.0.0.1/",
    ] {
      #expect(judge(url) == .address(.loopback), "\(url)")
    }
    #expect(judge("https://169.254.169.254/latest/meta-data") == .address(.linkLocal))
    #expect(judge("https://[fe80::1%25eth0]/") == .address(.linkLocal))
    for url in [
      "ftp://example.com", "file:///etc/passwd", "https://", "example.com", "https://a:b@example.com/",
      "https://user@example.com/", "https://example.com:0/", "https://example.com/#x", "https://exa mple.com",
      "https://example.com:99999/", "gopher://x/", "https:/x",
    ] {
      guard case .malformed = judge(url) else {
        Issue.record("\(url): \(String(describing: judge(url)))")
        continue
      }
    }
  }

  private static func guarded(_ allowed: String...) -> HTTPClient {
    makeClient(HTTPClientConfiguration(outgoing: OutgoingRule(allowed: allowed.compactMap { AddressBlock($0) })))
  }

  @Test(
    "a guarded client reaches nothing on this machine, however its host is spelled",
    arguments: ["127.0.0.1", "localhost", "2130706433", "0x7f.0.0.1", "127.1", "[::ffff:127.0.0.1]", "0.0.0.0"])
  func refused(host: String) async throws {
    let server = try await TestServer.shared()
    let request = HTTPClientRequest(url: "http://\(host):\(server.port)/port")
    do {
      _ = try await Self.guarded().send(request, deadline: .seconds(20))
      Issue.record("it was reached")
    } catch {
      guard case .forbiddenAddress(.some) = error.kind else {
        Issue.record("\(error)")
        return
      }
      #expect(error.happenedBeforeSending)
      #expect(!error.description.replacing(host, with: "").contains("127.0.0.1"), "it tells no address: \(error)")
    }
  }

  @Test("what is allowed is reached, and a redirect from there to elsewhere is not")
  func redirected() async throws {
    let server = try await TestServer.shared()
    let client = Self.guarded("127.0.0.1/32")
    #expect(try await client.send(HTTPClientRequest(url: server.http + "/port"), deadline: .seconds(20)).status == 200)
    var request = HTTPClientRequest(url: server.http + "/redirect/0?to=http://127.0.0.2:\(server.port)/port")
    #expect(try await client.send(request, deadline: .seconds(20)).status == 302)
    request.maxRedirects = 3
    #expect(
      await kind { _ = try await client.send(request, deadline: .seconds(20)) } == .forbiddenAddress(.loopback))
  }

  @Test("a Unix socket is not reached by a guarded client")
  func unix() async throws {
    let directory = try TemporaryDirectory()
    let server = try await TestServer.start(["--unix", directory.file("s")])
    var request = HTTPClientRequest(url: "http://example.test/port")
    request.unixSocket = directory.file("s")
    #expect(try await makeClient().send(request, deadline: .seconds(20)).status == 200)
    let client = Self.guarded("0.0.0.0/0", "::/0")
    #expect(await kind { _ = try await client.send(request, deadline: .seconds(20)) } == .forbiddenAddress(nil))
    withExtendedLifetime(server) {}
  }

  @Test("of an endless body only the wanted front is read, and the connection is closed behind it")
  func cut() async throws {
    let server = try await TestServer.shared()
    let client = makeClient()
    let name = "endless"
    let response = try await client.send(
      HTTPClientRequest(url: server.http + "/bytes?count=1000000000000&name=\(name)"), deadline: .seconds(20),
      bodyPrefix: 16 << 10)
    #expect(response.status == 200)
    #expect(response.isCut)
    #expect(response.body == pattern(count: 16 << 10))
    let whole = try await client.send(
      HTTPClientRequest(url: server.http + "/bytes?count=16384"), deadline: .seconds(20), bodyPrefix: 16 << 10)
    #expect(!whole.isCut)
    #expect(whole.body.count == 16 << 10)
    // The server stops when its connection is gone.
    _ = try await settled("the server sends no more") {
      let answer = try await client.send(
        HTTPClientRequest(url: server.http + "/sent?name=\(name)"), deadline: .seconds(20))
      return try answer.object["sent"] as? Int
    }
  }

  @Test("informational heads and trailers without end are refused", arguments: ["", "?trailers=1"])
  func flood(query: String) async throws {
    let server = try await TestServer.shared()
    let found = await kind {
      _ = try await makeClient().send(HTTPClientRequest(url: server.http + "/flood" + query), deadline: .seconds(60))
    }
    #expect(found == .tooLarge || found == .protocolError, "\(String(describing: found))")
  }
}
