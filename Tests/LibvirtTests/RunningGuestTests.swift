import Foundation
import Libvirt
import LibvirtTestSupport
import TestSupport
import Testing
import XMLBuilder

/// What can be done to a guest that runs. One guest for several claims, because each boot costs seconds.
extension GuestTests {
  @Test("a running guest has a console, counters, an agent; disks come, grow and go; the agent powers it off")
  func running() async throws {
    let libvirt = try await PrivateLibvirt.shared()
    let connection = try await Connection.open(libvirt.uri)
    let guest = try await Guest("running", in: libvirt)
    let domain = try await connection.define(guest.xml)
    let events = try await connection.domainEvents()
    try await domain.start()
    try await guest.waits(for: "ALOFT-READY")

    let console = try await domain.openConsole()
    await expect(.operationFailed) { _ = try await domain.openConsole() }
    try await console.write(Array("echo con''sole-$((6 * 7))\n".utf8))
    var heard = ""
    for await piece in console.output {
      heard += String(decoding: piece, as: UTF8.self)
      if heard.contains("console-42") { break }
    }
    await console.close()
    await expect(.connectionLost) { try await console.write([10]) }

    let stats = try #require(try await connection.stats().first { $0.uuid == guest.uuid })
    #expect(stats.state == .running(.booted) && stats.currentVCPUs == 1)
    #expect((stats.cpu.total ?? 0) > 0 && stats.memory.current == 131_072)
    let root = try #require(stats.blocks.first { $0.name == "vda" })
    #expect(root.path == guest.disk && (root.readBytes ?? 0) > 0 && root.capacity == 128 << 20)

    let extra = guest.disk + ".extra"
    try await run("qemu-img", "create", "-q", "-f", "qcow2", extra, "16M")
    let disk = guest.diskXML(extra, format: "qcow2", target: "vdc").string
    try await domain.attach(disk)
    try await guest.waits(for: "ALOFT-HOTPLUG add block vdc sectors=32768")
    try await domain.resizeBlock("vdc", bytes: 32 << 20)
    try await guest.waits(for: "ALOFT-HOTPLUG change block vdc sectors=65536")
    try await domain.detach(disk)
    try await guest.waits(for: "ALOFT-HOTPLUG remove block vdc")
    for await event in events where event.uuid == guest.uuid {
      if case .deviceRemoved = event.kind { break }
    }
    #expect(try ParsedXML(try await domain.xml(.stored)).has("//target[@dev='vdc']") == false)
    await expect(.deviceMissing) { try await domain.detach(disk) }

    let interfaces = try await found("answer of the guest's agent") {
      try? await domain.interfaceAddresses(from: .agent)
    }
    #expect(interfaces.contains { $0.addresses.contains { $0.address == "127.0.0.1" } })
    try await domain.shutdown(.agent)
    try await guest.waits(for: "ALOFT-SHUTDOWN agent poweroff")
    _ = try await found("shut off") { try await domain.state() == .shutOff(.shutdown) ? true : nil }
    try await domain.undefine()
  }

  @Test("a guest moves to another libvirtd while it runs, and only that one knows it then")
  func migration() async throws {
    let source = try await PrivateLibvirt.shared()
    let destination = try await PrivateLibvirt.start()
    let here = try await Connection.open(source.uri)
    let there = try await Connection.open(destination.uri)
    let guest = try await Guest("wanderer", in: source)
    let domain = try await here.define(guest.xml)
    try await domain.start()
    try await guest.waits(for: "ALOFT-READY")
    var options = MigrationOptions(destination: destination.uri)
    options.migrationURI = "tcp://127.0.0.1"
    options.listenAddress = "127.0.0.1"
    // One directory on one machine is coherent, which libvirt cannot know.
    options.flags.insert(.unsafe)
    try await domain.migrate(options)
    await expect(.noDomain) { _ = try await domain.state() }
    #expect(try await there.domain(guest.uuid).state() == .running(.migrated))
    let moved = try #require(try await there.domains().first { $0.uuid == guest.uuid })
    #expect(moved.isPersistent)
    try await there.domain(guest.uuid).shutdown(.acpi)
    _ = try await found("shut off") { try await there.domain(guest.uuid).state().isActive ? nil : true }
    try await destination.stop()
  }
}
