import Glibc
import OVSDBTestSupport
import TestSupport
import Testing

@testable import OVSDB

@Suite("Connections")
struct ConnectionTests {
  @Test(
    "a server that does not speak the protocol is left, and the reason is told",
    arguments: [
      ("HTTP/1.1 200 OK", "does not speak the protocol"), (#"{"id":1,"result":tru}"#, "invalid JSON"),
      (#"{"a":1}"#, "no JSON-RPC message"), (String(repeating: #"{"a":["#, count: 40), "nested deeper"),
      (#"{"a":""# + String(repeating: "x", count: 5_000), "larger than 4096"),
      (#"{"id":null,"method":"update2","params":["server",{"Other":{}}]}"#, "cannot be used"),
    ])
  func hostile(bytes: String, reason: String) async throws {
    let server = try PlayedServer(saying: Array(bytes.utf8))
    var configuration = OVSDBConfiguration(database: "Test", remotes: [server.remote])
    configuration.maximumMessageSize = 4_096
    // One attempt: the reason stays.
    configuration.firstPause = .seconds(3_600)
    configuration.longestPause = .seconds(3_600)
    let client = try OVSDBClient(configuration, logger: TestLogs.logger())
    try await eventually("the reason is told") {
      if case .disconnected(let told?) = client.status { told.contains(reason) } else { false }
    }
  }

  @Test("a message of several MiB in small pieces is taken, and an echo that is asked for is answered")
  func largeAndEcho() async throws {
    let text = String(repeating: #"\"}"#, count: 1 << 20)
    let messages = #"{"id":null,"method":"hello","params":["\#(text)"]} {"id":"echo","method":"echo","params":[7]}"#
    let server = try PlayedServer(saying: Array(messages.utf8), pieces: 5_000)
    let client = try OVSDBClient(
      OVSDBConfiguration(database: "Test", remotes: [server.remote]), logger: TestLogs.logger())
    try await eventually("the answer is there") {
      let bytes = server.received.withLock { $0 }
      return String(decoding: bytes, as: UTF8.self).contains(#""id":"echo","result":[7],"error":null"#)
    }
    client.close()
  }

  @Test("a server that falls silent is noticed by the client's own probes, and used again when it is back")
  func silence() async throws {
    let server = try await OVSDBServer()
    let client = try server.client {
      $0.probeInterval = .milliseconds(200)
      $0.probeTimeout = .milliseconds(500)
    }
    try await client.transact([.comment("ready")])
    try server.signal(SIGSTOP)
    try await eventually("the silence is noticed") { if case .disconnected = client.status { true } else { false } }
    try server.signal(SIGCONT)
    try await client.transact([.comment("again")])
  }

  @Test("transactions work over TCP")
  func tcp() async throws {
    let port = try freePort()
    let server = try await OVSDBServer(arguments: ["--remote=ptcp:\(port):127.0.0.1"])
    let client = try server.client { $0.remotes = [.tcp(address: "127.0.0.1", port: port)] }
    try await client.transact([.insert(table: "Item", row: ["name": "x"])])
    #expect(client.status == .ready(.tcp(address: "127.0.0.1", port: port)))
  }

  @Test("TLS works with a client certificate, and a server of another authority is not believed")
  func tls() async throws {
    let port = try freePort()
    let directory = try OVSDBServer.makeDirectory()
    for name in ["ca", "other"] {
      try await run(
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
        "-subj",
        "/CN=\(name)", "-keyout", "\(directory)/\(name).key", "-out", "\(directory)/\(name).pem")
    }
    try await run(
      "sh", "-c",
      """
      cd \(directory); for n in server client; do openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
        -subj /CN=$n -keyout $n.key -out $n.csr && openssl x509 -req -in $n.csr -CA ca.pem -CAkey ca.key \
        -CAcreateserial -days 2 -out $n.pem || exit 1; done
      """)
    let server = try await OVSDBServer(arguments: [
      "--remote=pssl:\(port):127.0.0.1", "--private-key=\(directory)/server.key",
      "--certificate=\(directory)/server.pem", "--ca-cert=\(directory)/ca.pem",
    ])
    func client(_ authority: String, _ serverName: String?) throws -> OVSDBClient {
      try server.client {
        $0.remotes = [.tls(address: "127.0.0.1", port: port)]
        $0.tls = TLSCredentials(
          certificateChain: directory + "/client.pem", privateKey: directory + "/client.key",
          authorities: "\(directory)/\(authority).pem", serverName: serverName)
      }
    }
    let good = try client("ca", "server")
    let text = String(repeating: "x", count: 1 << 20)
    try await good.transact([.insert(table: "Item", row: ["name": .string(text)])])
    let rows = try await good.transact([.select(table: "Item", where: [], columns: ["name"])])[0].selectedRows
    #expect(rows == [["name": .string(text)]])
    for (authority, name) in [("other", nil), ("ca", "elsewhere")] as [(String, String?)] {
      let bad = try client(authority, name)
      try await eventually("it is not believed") {
        if case .disconnected(let told?) = bad.status { told.contains("certificate") } else { false }
      }
    }
    try await run("rm", "-rf", directory)
  }

  @Test("remotes are read as OVSDB's tools write them")
  func remotes() throws {
    for text in ["unix:/run/db.sock", "tcp:127.0.0.1:6641", "ssl:[fd00::1]:6641"] {
      #expect(try Remote(text).description == text)
    }
    for text in ["", "unix:", "unix:db", "tcp:127.0.0.1", "tcp:127.0.0.1:0", "tcp:1:2:99999", "http://x:1"] {
      #expect(throws: OVSDBError.self) { try Remote(text) }
    }
  }

  @Test("remotes are tried one after another, and the pause behind a round doubles up to its limit")
  func rotation() {
    let remotes: [Remote] = [.unix("/a"), .unix("/b")]
    var rotation = RemoteRotation(remotes: remotes, firstPause: .seconds(1), longestPause: .seconds(3))
    var pauses: [Duration] = []
    var order: [Remote] = []
    for _ in 0..<6 {
      order.append(rotation.current)
      pauses.append(rotation.advance(random: 0.5))
    }
    #expect(order == remotes + remotes + remotes)
    #expect(pauses == [.zero, .milliseconds(750), .zero, .milliseconds(1_500), .zero, .milliseconds(2_250)])
    rotation.settled()
    #expect(rotation.advance(random: 0) == .zero)
    #expect(rotation.advance(random: 0) == .milliseconds(500))
  }
}
