import AloftModel
import Foundation
import Libvirt
import LibvirtTestSupport
import TestSupport
import Testing

@testable import NodeAgent

@Suite("Agent with real guests", .serialized)
struct RealGuestTests {
  let vm = VMID.sample(1)

  @Test(
    "a document becomes a guest that is up; libvirtd and agent may die; a stop that is ignored ends in time; delete leaves nothing"
  )
  func life() async throws {
    let node = try await RealNode()
    var agent = try await node.start()
    let data = "#cloud-config\n# aloft-ignore-acpi\n"
    node.plane.assign(node.bootVolume(of: vm))
    node.plane.assign(node.document(vm, generation: 1, userData: data))
    let stream = StreamRequest(
      id: StreamID(UUID.v7(milliseconds: 3, random: (3, 3))), url: "", kind: .serialLog, vm: vm,
      offset: 0, follow: true)
    node.plane.request(stream)
    try await node.wait("ALOFT-READY") { node.log(vm).contains("ALOFT-READY") }
    let log = node.log(vm)
    #expect(log.contains("ALOFT-DATASOURCE nocloud instance=\(vm)"))
    #expect(log.contains("ALOFT-HOSTNAME web-1"))
    #expect(log.contains("ALOFT-SSHKEY ssh-ed25519 AAAAC3Nza"))
    #expect(log.contains("ALOFT-DISK vda sectors=2097152"))
    try await node.wait("the stream") {
      String(decoding: node.plane.sent(stream.id)?.bytes ?? [], as: UTF8.self).contains(
        "ALOFT-READY")
    }
    let pid = try #require(try node.libvirt.guestPid(vm.description))

    // Both die, the guest does not.
    try await node.libvirt.kill9()
    agent.cancel()
    await agent.value
    agent = try await node.start()
    node.plane.assign(
      node.document(vm, generation: 2, userData: data, requests: [.sample(1, .reset)]))
    try await node.libvirt.restart()
    try await node.wait("the reset") { node.seen(vm)?.completedRequests.isEmpty == false }
    #expect(try node.libvirt.guestPid(vm.description) == pid)
    try await node.wait("a second boot") {
      node.log(vm).components(separatedBy: "ALOFT-READY").count == 3
    }

    // It ignores the power button.
    node.plane.assign(node.document(vm, generation: 3, power: .stopped, grace: 5, userData: data))
    try await node.wait("the end") { node.seen(vm)?.power == .stopped }
    #expect(node.log(vm).contains("ALOFT-SHUTDOWN-IGNORED"))
    try await node.wait("the reason") { node.seen(vm)?.problem?.code == .guestIgnored }
    #expect(node.seen(vm)?.guestStopped == false)

    node.plane.assign(node.document(vm, generation: 4, deleted: true))
    try await node.wait("the deletion") { node.seen(vm)?.power == .absent }
    #expect(FileSystem.names(in: node.data + "/vms") == [])
    #expect(FileSystem.names(in: node.data + "/volumes").count == 1, "a volume outlives its machine")
    node.plane.assign(node.bootVolume(of: nil, generation: 2, deleted: true))
    try await node.wait("the volume's deletion") { node.seen(.sample(1))?.state == .absent }
    #expect(FileSystem.names(in: node.data + "/layers") == [])
    let connection = try await Connection.open(node.libvirt.uri)
    #expect(try await connection.domains().isEmpty)
    #expect(FileSystem.names(in: node.data + "/images") == [node.image.sha256])
    agent.cancel()
    await agent.value
    try await node.libvirt.stop()
  }

  @Test(
    "a guest that libvirtd has forgotten is ended and started again; another host's of the same UUID is not touched")
  func forgotten() async throws {
    let (node, other) = (try await RealNode(), try await RealNode())
    let agents = [try await node.start(), try await other.start()]
    for node in [node, other] {
      node.plane.assign(node.bootVolume(of: vm))
      node.plane.assign(node.document(vm, generation: 1))
    }
    try await node.wait("the guests") {
      node.seen(vm)?.power == .running && other.seen(vm)?.power == .running
    }
    let first = try #require(try node.libvirt.guestPid(vm.description))
    let elsewhere = try other.libvirt.guestPid(vm.description)

    // What libvirtd has written down of the guest cannot be read when it is back.
    try await node.libvirt.kill9()
    let status = node.libvirt.directory.appending(path: "run/libvirt/qemu/\(vm).xml")
    try "no status".write(to: status, atomically: false, encoding: .utf8)
    try await node.libvirt.restart()
    _ = try await found("its next start", within: .seconds(120)) {
      let second = try node.libvirt.guestPid(vm.description)
      return second.map { $0 != first && processRuns($0) } == true ? true : nil
    }
    #expect(!processRuns(first), "what it would have written is lost")
    try await other.libvirt.kill9()
    try await other.libvirt.restart()
    try await node.wait("the other agent's look") { other.seen(vm)?.power == .running }
    #expect(try other.libvirt.guestPid(vm.description) == elsewhere)
    for agent in agents { agent.cancel() }
    for agent in agents { await agent.value }
    for node in [node, other] { try await node.libvirt.stop() }
  }

  @Test(
    "a guest that powers itself off stays off; one whose QEMU is killed is started again; one that is asked goes"
  )
  func powerOff() async throws {
    let node = try await RealNode()
    let agent = try await node.start()
    node.plane.assign(node.bootVolume(of: vm))
    node.plane.assign(node.document(vm, generation: 1))
    try await node.wait("ALOFT-READY") { node.log(vm).contains("ALOFT-READY") }
    let uri = node.libvirt.uri
    for (boot, signal) in [(2, SIGKILL), (3, SIGTERM)] {
      let killed = try #require(try node.libvirt.guestPid(vm.description))
      kill(killed, signal)
      try await node.wait("boot \(boot)") {
        node.log(vm).components(separatedBy: "ALOFT-READY").count == boot + 1
      }
    }
    // libvirtd is gone for a while; the agent finds it again.
    try await node.libvirt.kill9()
    try await node.libvirt.restart()
    try await node.wait("the agent's look") { node.seen(vm)?.power == .running }
    // Told through the guest's agent, the guest goes off by itself. libvirtd needs a moment to find that agent again, and
    // virsh takes it for a failure that it goes off without an answer.
    _ = try await found("the guest's own power-off", within: .seconds(240)) { () -> Bool? in
      _ = try? await run(
        "virsh", "--connect", uri, "qemu-agent-command", vm.description, #"{"execute":"guest-shutdown"}"#)
      return node.seen(vm)?.guestStopped == true ? true : nil
    }
    #expect(node.seen(vm)?.power == .stopped)

    node.plane.assign(node.document(vm, generation: 2))
    try await node.wait("a fourth boot") {
      node.log(vm).components(separatedBy: "ALOFT-READY").count == 5
    }
    node.plane.assign(node.document(vm, generation: 3, power: .stopped, grace: 120))
    try await node.wait("the shutdown") {
      node.seen(vm)?.power == .stopped && node.seen(vm)?.generation == 3
    }
    #expect(node.log(vm).contains("ALOFT-SHUTDOWN acpi"))
    #expect(node.seen(vm)?.guestStopped == false)
    agent.cancel()
    await agent.value
    try await node.libvirt.stop()
  }
}
