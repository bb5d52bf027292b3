import AloftModel
import Crypto
import Execution
import Foundation
import Glibc
import IPAddressing
import LibvirtTestSupport
import TestSupport
import Testing

@testable import NodeAgent

// A node with OVN, libvirt and guests, all of it real, in a network namespace: the test runs itself again in there, because
// a host has one bridge of OVN's, and the devices of this one are nobody's business.

private let folder = ProcessInfo.processInfo.environment["ALOFT_TEST_OVN"]
private let canEnter =
  getuid() == 0 && access("/usr/sbin/ip", X_OK) == 0 && access("/usr/bin/ovn-controller", X_OK) == 0

@Suite("Node with OVN")
struct RealNetworkTests {
  /// Cleans up when this process closes the pipe or dies, however it dies.
  private static let watchdog = """
    trap '' HUP INT TERM
    read -r _
    for part in host central; do [ ! -d "$2/$part" ] || "$0" stop "$2/$part"; done
    ip netns delete "$1"
    rm -rf "$2"
    """

  @Test("a node with OVN, in a network namespace", .enabled(if: canEnter && folder == nil, "needs root and OVN"))
  func outside() async throws {
    var template = Array("/tmp/aloft-ovn-XXXXXX".utf8CString)
    try #require(mkdtemp(&template) != nil)
    let folder = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    let name = "aloft-test-" + folder.suffix(6)
    var ends: [Int32] = [-1, -1]
    try #require(pipe(&ends) == 0)
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    let watchdog = try spawn(
      ["setsid", "bash", "-c", Self.watchdog, script("ovn-private"), name, folder], input: ends[0])
    close(ends[0])
    var failure: (any Error)?
    do {
      try await run("ip", "netns", "add", name)
      try await run("ip", "-n", name, "link", "set", "lo", "up")
      try await run(
        "ip", "netns", "exec", name, "env", "ALOFT_TEST_OVN=\(folder)", CommandLine.arguments[0],
        "--testing-library", "swift-testing", "--filter", "NodeAgentTests.RealNetworkTests/inside")
    } catch { failure = error }
    close(ends[1])
    await DedicatedThread(name: "watchdog").run { _ = reap(watchdog) }
    if let failure { throw failure }
  }

  @Test(
    "a guest runs when its port is there, is answered by the metadata service, and gets its port back when it is lost",
    .enabled(if: folder != nil))
  func inside() async throws {
    let node = try await RealNetworkNode(folder: try #require(folder))
    do { try await life(node) } catch {
      print(node.log)
      await node.stop()
      throw error
    }
    await node.stop()
  }

  private func life(_ node: RealNetworkNode) async throws {
    var agent = try await node.start()
    try await eventually("the node can have networks", within: .seconds(30)) {
      await node.isWell
    }
    #expect(await node.report?.tunnelAddress == "127.0.0.1")
    #expect(try await node.ovs("ovs-vsctl", "get", "open", ".", "external_ids:system-id").contains(node.id.description))

    // Without its port in OVN the guest is held.
    var document = node.document(generation: 1, nics: 1)
    node.plane.assign(VolumeAssignment.sample(source: .init(image: node.image), vm: .sample(1)))
    node.plane.assign(document)
    try await eventually("it is held", within: .seconds(60)) { node.seen?.activity?.contains("network port") == true }
    #expect(node.seen?.power == .paused)
    try await node.connect(document)
    try await eventually("it runs", within: .seconds(60)) { node.seen?.power == .running }
    try await eventually("it is up and has asked for its metadata", within: .seconds(240)) {
      node.guestSays("ALOFT-TEST-END")
    }
    #expect(node.log.contains("ALOFT-NET eth0 mac=02:00:00:00:00:01 ip=10.0.0.11"))
    #expect(node.guestSays("ALOFT-TEST-INSTANCE \(document.vm)"))
    #expect(node.guestSays("ALOFT-TEST-MTU 1400"))

    // Another process of the agent takes over: the network's namespace and its port stay as they are.
    agent.cancel()
    await agent.value
    let port = try await node.ovs("ovs-vsctl", "get", "port", node.metadataDevice, "_uuid")
    try await node.ping()
    agent = try await node.start()
    try await eventually("the metadata service listens again", within: .seconds(30)) {
      (try? await run("ip", "netns", "exec", node.namespace, "curl", "-s", "http://169.254.169.254/")) != nil
    }
    #expect(try await node.ovs("ovs-vsctl", "get", "port", node.metadataDevice, "_uuid") == port)

    // A port that somebody removes comes back.
    let device = NICSpecification.device(of: .sample(1))
    try await node.ovs("ovs-vsctl", "del-port", device)
    try await eventually("the port is there again", within: .seconds(60)) {
      try await node.ovs("ovs-vsctl", "--if-exists", "get", "interface", device, "external_ids:ovn-installed")
        .contains("true")
    }
    try await node.ping()
    // Ports that no guest has go.
    let ghost = NICID(UUID())
    try await run("ip", "link", "add", NICSpecification.device(of: ghost), "type", "veth", "peer", "name", "ghost")
    try await node.ovs(
      "ovs-vsctl", "add-port", "br-int", NICSpecification.device(of: ghost), "--", "set", "interface",
      NICSpecification.device(of: ghost), "external_ids:iface-id=\(ghost.port)")
    try await eventually("the ghost is gone", within: .seconds(60)) {
      try await !node.ovs("ovs-vsctl", "list-ports", "br-int").contains(NICSpecification.device(of: ghost))
    }

    // A second NIC, and without it again.
    document = node.document(generation: 2, nics: 2)
    try await node.connect(document)
    node.plane.assign(document)
    try await eventually("the guest has seen it", within: .seconds(120)) {
      node.log.contains("ALOFT-NET eth1 mac=02:00:00:00:00:02 ip=10.0.0.12")
    }
    try await eventually("the agent has told so") { node.seen?.nics?.count == 2 }
    node.plane.assign(node.document(generation: 3, nics: 1))
    try await eventually("the guest has given it back", within: .seconds(120)) {
      node.seen?.nics == [.sample(1)] && node.seen?.problem == nil
    }

    // All of Open vSwitch dies; the metadata service's namespace, whose device is dead then, works again too.
    try await run(script("ovn-private"), "kill9", node.switchFolder, "vswitchd", "controller", "database")
    try await run(script("ovn-private"), "host", node.switchFolder)
    try await node.ping(within: .seconds(120))
    try await eventually("the node is well", within: .seconds(60)) { await node.isWell }

    // The last NIC goes like any other.
    node.plane.assign(node.document(generation: 4, nics: 0))
    try await eventually("the guest has none", within: .seconds(120)) {
      node.seen?.nics == [] && node.seen?.generation == 4 && node.seen?.power == .running && node.seen?.problem == nil
    }
    node.plane.assign(node.document(generation: 5, nics: 1, deleted: true))
    try await eventually("it is gone", within: .seconds(60)) { node.seen?.power == .absent }
    try await eventually("its port and its network's namespace are gone", within: .seconds(60)) {
      let ports = try await node.ovs("ovs-vsctl", "list-ports", "br-int")
      return !ports.contains("\nav") && !ports.hasPrefix("av") && !ports.contains("am")
        && !FileSystem.exists(NetworkNamespace.path(node.namespace))
    }
    agent.cancel()
    await agent.value
  }
}

/// OVN, libvirt and an agent in this process's network namespace.
private final class RealNetworkNode: Sendable {
  let id = NodeID(UUID())
  let folder: String
  let libvirt: PrivateLibvirt
  let plane = MemoryControlPlane()
  let storage: DirectoryStorage
  let image: Assignment.BaseImage
  let hypervisor: LibvirtHypervisor
  private let current = Lock<OpenVSwitch?>(nil)

  var switchFolder: String { folder + "/host" }
  private let network = MetadataNetwork(id: .sample(1), mtu: 0, addresses: [])
  var namespace: String { network.namespace(on: id) }
  var metadataDevice: String { network.device }
  var seen: Observation? { plane.observation(.sample(1)) }
  /// Of the serial port.
  var log: String {
    String(decoding: (try? FileSystem.readAll(storage.paths(of: .sample(1)).serialLog)) ?? [], as: UTF8.self)
  }

  var report: NodeNetworking? { get async { await current.withLock { $0 }?.report() } }
  var isWell: Bool { get async { await report.map { $0.problem == nil } ?? false } }
  /// Whether a line ends so: it may stand behind a shell's prompt. The guest shows its user data, too.
  func guestSays(_ text: String) -> Bool {
    log.split(whereSeparator: \.isNewline).contains { $0.hasSuffix(text) && !$0.hasPrefix("ALOFT-USERDATA") }
  }

  init(folder: String) async throws {
    self.folder = folder
    try await run(script("ovn-private"), "central", folder + "/central")
    try await run(script("ovn-private"), "host", folder + "/host")
    // libvirt's ovs-vsctl inherits this. Nothing else runs in this process.
    setenv("OVS_RUNDIR", folder + "/host/run", 1)
    libvirt = try await PrivateLibvirt.start()
    let data = libvirt.directory.appending(path: "agent").path
    storage = try await DirectoryStorage.open(data, logger: quietLogger)
    let content = try Array(Data(contentsOf: URL(fileURLWithPath: try await GuestImage.path())))
    let fabric = NetworkFabric(southbound: ["unix:\(folder)/central/run/sb.sock"])
    plane.state.withLock {
      $0.image = content
      $0.fabric = fabric
    }
    var image = Assignment.BaseImage.sample
    image.sha256 = SHA256.hash(data: content).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    image.format = .qcow2
    image.sizeBytes = content.count
    self.image = image
    hypervisor = LibvirtHypervisor(uri: libvirt.uri, logger: quietLogger)
  }

  /// One life of the agent.
  func start() async throws -> Task<Void, Never> {
    let clock = SystemClock()
    let id = id
    let networks = try await OpenVSwitch(
      settings: NetworkSettings(
        ovs: "unix:\(folder)/host/run/db.sock", tunnelAddress: IPAddress("127.0.0.1"), datapath: .userspace),
      hypervisor: hypervisor, clock: clock,
      identity: { () async throws(AgentFailure) in
        SouthboundIdentity(node: id, certificate: "/none", key: "/none", authorities: nil)
      }, logger: quietLogger)
    current.withLock { $0 = networks }
    let performer = EffectPerformer(
      hypervisor: hypervisor, storage: storage,
      journal: try await FileJournal.open(libvirt.directory.path + "/agent/journal.jsonl"), link: plane, clock: clock,
      networks: networks,
      platform: { [storage] () async throws(AgentFailure) in
        DomainPlatform(
          architecture: "x86_64", accelerator: .tcg, directIO: await storage.supportsDirectIO(), datapath: .userspace)
      },
      nodeReport: { () async throws(AgentFailure) in
        NodeReport(architecture: "x86_64", accelerator: .tcg, vcpus: 2, memoryMib: 1024, diskGib: 10, facts: [:])
      },
      renewIdentity: { () async throws(AgentFailure) in throw AgentFailure(.unsupported, "no certificate") },
      logger: quietLogger)
    let agent = Agent(machine: AgentMachine(now: clock.now(), seed: 1), performer: performer)
    return Task {
      await withDiscardingTaskGroup { group in
        group.addTask { await networks.run() }
        await agent.run()
        group.cancelAll()
      }
    }
  }

  /// Asks the metadata service and tells on the serial port.
  static let userData = """
    #!/bin/sh
    field=X-aws-ec2-metadata-token
    for _ in 1 2 3 4 5 6 7 8; do
      token=$(printf 'PUT /latest/api/token HTTP/1.1\\r\\nHost: a\\r\\n%s-ttl-seconds: 60\\r\\nConnection: close\\r\\n\\r\\n' $field |
        timeout 5 nc 169.254.169.254 80 | tail -n 1)
      id=$(timeout 5 wget -q -O - --header "$field: $token" http://169.254.169.254/latest/meta-data/instance-id) && break
    done
    echo "ALOFT-TEST-INSTANCE $id"
    echo "ALOFT-TEST-MTU $(cat /sys/class/net/eth0/mtu)"
    echo ALOFT-TEST-END
    """

  func document(generation: Int, nics: Int, deleted: Bool = false) -> Assignment {
    var document = Assignment.sample(
      .sample(1), incarnation: 1, generation: generation, deleted: deleted, grace: 60, disks: [.sample(1, boot: 0)]
    ).with((0..<nics).map { .sample($0 + 1) }, mtu: 1400)
    document.vcpus = 1
    document.memoryMib = 128
    document.userData = Self.userData
    return document
  }

  /// What the control plane would write into OVN.
  func connect(_ document: Assignment) async throws {
    try await central("ovn-nbctl", "--may-exist", "ls-add", "blue")
    let metadata = NetworkID.sample(1)
    try await central(
      "ovn-nbctl", "--may-exist", "lsp-add", "blue", metadata.metadataPort, "--", "lsp-set-type", metadata.metadataPort,
      "localport", "--", "lsp-set-addresses", metadata.metadataPort,
      "\(metadata.metadataMAC) 10.0.0.2 169.254.169.254 fe80::a9fe:a9fe")
    var options = try await central(
      "ovn-nbctl", "--bare", "--columns=_uuid", "find", "dhcp_options", "cidr=10.0.0.0/24")
    if options.isEmpty {
      options = try await central(
        "ovn-nbctl", "create", "dhcp_options", "cidr=10.0.0.0/24",
        "options={server_id=10.0.0.1,server_mac=\"02:00:00:00:00:fe\",lease_time=3600,mtu=1400,classless_static_route=\"{169.254.169.254/32,10.0.0.2}\"}"
      )
    }
    options = options.trimmingCharacters(in: .whitespacesAndNewlines)
    for nic in document.nics ?? [] {
      let address = "\(nic.mac) \(nic.plainAddresses(isIPv6: false).joined(separator: " "))"
      try await central(
        "ovn-nbctl", "--may-exist", "lsp-add", "blue", nic.id.port, "--", "lsp-set-addresses", nic.id.port, address,
        "--", "lsp-set-dhcpv4-options", nic.id.port, options)
    }
  }

  @discardableResult
  func ovs(_ arguments: String...) async throws -> String {
    try await run([script("ovn-private"), "exec", folder + "/host"] + arguments)
  }

  @discardableResult
  func central(_ arguments: String...) async throws -> String {
    try await run([script("ovn-private"), "exec", folder + "/central"] + arguments)
  }

  /// From the metadata service's namespace, through OVN, to the guest.
  func ping(within limit: Duration = .seconds(60)) async throws {
    try await eventually("the guest answers", within: limit) {
      (try? await run("ip", "netns", "exec", namespace, "ping", "-c", "1", "-W", "1", "10.0.0.11")) != nil
    }
  }

  func stop() async {
    try? await libvirt.stop()
    _ = try? await run("ip", "netns", "delete", namespace)
  }
}
