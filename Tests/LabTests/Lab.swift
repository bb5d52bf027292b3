import Foundation
import Glibc
import JSON
import LibvirtTestSupport
import TestSupport

/// A cloud of several nodes in network namespaces (scripts/lab), with this build's programs.
///
/// It ends with ``stop()``, or when the test process dies, however it dies: a shell waits for the end of a pipe that only
/// this process holds open.
final class Lab: Sendable {
  let folder: String
  private let url: String
  private let token: String
  private let certificate: String
  private let watchdogPipe: Int32

  /// Network namespaces are root's.
  static var isPossible: Bool { geteuid() == 0 }

  /// The one for all tests that do no harm to it.
  static func shared() async throws -> Lab { try await sharedTask.value }
  private static let sharedTask = Task { try await Lab.start(nodes: 3) }

  /// Makes one; each node has its name as the label `name`, and the image is `tiny`.
  static func start(nodes: Int) async throws -> Lab {
    let folder = FileManager.default.temporaryDirectory.appending(path: "aloft-lab-\(UUID().uuidString.prefix(8))").path
    try FileManager.default.createDirectory(atPath: folder + "/log", withIntermediateDirectories: true)
    for name in ["aloftd-1", "aloftd-2"] + (1...nodes).map({ "node\($0)-agent" }) {
      TestLogs.keep("\(folder)/log/\(name).log")
    }
    let watchdogPipe = try startWatchdog(folder)
    let image = try await GuestImage.path()
    try await run(environment(folder) + ["ALOFT_IMAGE=\(image)", script("lab"), "up", "--nodes", "\(nodes)"])
    let settings = try await run(
      "bash", "-c", ". '\(folder)/env' && printf '%s\\n' \"$ALOFT_URL\" \"$ALOFT_TOKEN\" \"$ALOFT_CA_CERT\""
    ).split(separator: "\n").map(String.init)
    guard settings.count == 3 else { throw CommandFailure(command: "lab env", status: 1, output: "\(settings)") }
    TestSecrets.register(settings[1])
    let lab = Lab(
      folder: folder, url: settings[0], token: settings[1], certificate: settings[2], watchdogPipe: watchdogPipe)
    for number in 1...nodes {
      try await lab.send("PATCH", "/v1/nodes/node\(number)", ["labels": ["name": .string("node\(number)")]])
    }
    return lab
  }

  private init(folder: String, url: String, token: String, certificate: String, watchdogPipe: Int32) {
    self.folder = folder
    self.url = url
    self.token = token
    self.certificate = certificate
    self.watchdogPipe = watchdogPipe
  }

  /// Ends it and all its guests, and removes the folder.
  func stop() async throws {
    try await lab("down")
    close(watchdogPipe)
  }

  // MARK: Its parts

  /// What scripts/lab prints.
  @discardableResult
  func lab(_ arguments: String...) async throws -> String {
    try await run(Self.environment(folder) + [script("lab")] + arguments)
  }

  /// What a shell prints in a place: `control`, `outside` or a node.
  @discardableResult
  func shell(_ place: String, _ command: String) async throws -> String {
    try await lab("exec", place, "sh", "-c", command)
  }

  /// Whether a shell's command succeeds in a place.
  func succeeds(_ place: String, _ command: String) async -> Bool { (try? await shell(place, command)) != nil }

  /// Ends programs as a crash would; see scripts/lab.
  func kill9(_ place: String, _ parts: String...) async throws {
    try await run(Self.environment(folder) + [script("lab"), "kill9", place] + parts)
  }

  // MARK: The API

  /// - Parameter replica: which aloftd is asked, 1 or 2.
  func get(_ path: String, replica: Int = 1) async throws -> JSONValue {
    try JSONValue.parse(try await curl(path, [], replica))
  }

  /// Sends JSON; the answer, null where there is none. Refusals throw, with what the answer says.
  @discardableResult
  func send(_ method: String, _ path: String, _ body: JSONValue? = nil, wait: Bool = false, replica: Int = 1)
    async throws -> JSONValue
  {
    var options = ["-X", method]
    if let body { options += ["-H", "Content-Type: application/json", "-d", body.description] }
    if wait { options += ["-H", "Prefer: wait=90"] }
    let answer = try await curl(path, options, replica)
    return answer.isEmpty ? .null : try JSONValue.parse(answer)
  }

  private func curl(_ path: String, _ options: [String], _ replica: Int) async throws -> String {
    // The replicas differ by their ports alone.
    let server = replica == 1 ? url : url.replacing(":8443", with: ":8444")
    return try await run(
      [
        "curl", "-sS", "--noproxy", "*", "--fail-with-body", "--max-time", "120", "--cacert", certificate, "-H",
        "Authorization: Bearer \(token)",
      ] + options + [server + path])
  }

  /// Makes a project that has the image `tiny` as the first one has.
  func addProject(_ name: String) async throws {
    try await send("POST", "/v1/projects", ["name": .string(name)])
    let settings = [
      "ALOFT_URL=\(url)", "ALOFT_TOKEN=\(token)", "ALOFT_CA_CERT=\(certificate)", "ALOFT_PROJECT=\(name)", "no_proxy=*",
    ]
    let image = try await GuestImage.path()
    try await run(["env"] + settings + ["\(builtPrograms)/aloft", "image", "upload", "tiny", image])
  }

  // MARK: VMs

  /// Makes a VM on a node and waits until its guest answers.
  ///
  /// - Parameter nics: as the API wants them.
  @discardableResult
  func create(_ name: String, on node: String, project: String = "default", nics: [JSONValue] = []) async throws
    -> GuestShell
  {
    var body: JSONObject = [
      "name": .string(name), "image": "tiny", "memory_mib": 128, "node_selector": ["name": .string(node)],
    ]
    if !nics.isEmpty { body["nics"] = .array(nics) }
    // A node that has lost OVN's servers for a moment takes nobody.
    let made = try await found("\(name) is accepted", within: .seconds(60)) { () -> JSONValue? in
      do {
        return try await send("POST", "/v1/vms?project=\(project)", .object(body), wait: true)
      } catch let failure as CommandFailure where failure.output.contains("no_capacity") {
        return JSONValue?.none
      }
    }
    guard made["state"]?.stringValue == "running", let id = made["id"]?.stringValue else {
      throw CommandFailure(command: "POST /v1/vms \(name)", status: 1, output: "\(made)")
    }
    let guest = try guest(id, on: node)
    try await guest.answers()
    return guest
  }

  /// The guest of the VM with this id.
  func guest(_ id: String, on node: String) throws -> GuestShell {
    let uri = try String(contentsOfFile: "\(folder)/\(node)/uri", encoding: .utf8)
    return GuestShell(domain: id, uri: uri.trimmingCharacters(in: .whitespacesAndNewlines))
  }

  // MARK: Ends

  private static func environment(_ folder: String) -> [String] {
    ["env", "ALOFT_LAB=\(folder)", "ALOFT_PROGRAMS=\(builtPrograms)"]
      + (TestLogs.areKept ? ["ALOFT_LOG_LEVEL=trace", "ALOFT_AGENT_LOG_LEVEL=trace"] : [])
  }

  private static let watchdog = """
    trap '' HUP INT TERM
    read -r _
    if [ -d "$1" ]; then ALOFT_LAB=$1 "$0" down >"$1/log/down.log" 2>&1; fi
    """

  /// Returns the pipe's writing end.
  private static func startWatchdog(_ folder: String) throws -> Int32 {
    var ends: [Int32] = [-1, -1]
    guard pipe(&ends) == 0 else { throw CommandFailure(command: "pipe", status: errno, output: "") }
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    defer { close(ends[0]) }
    _ = try spawn(["setsid", "bash", "-c", watchdog, script("lab"), folder], input: ends[0])
    return ends[1]
  }
}
