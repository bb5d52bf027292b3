import Foundation
import Glibc
import Libvirt
import LibvirtTestSupport
import TestSupport
import Testing

/// Real guests under QEMU. Serialized: a guest without KVM fills a core while it boots.
@Suite(.serialized) struct GuestTests {
  @Test("a guest boots with its seed, obeys the power button, keeps its disk, and goes when destroyed")
  func life() async throws {
    let libvirt = try await PrivateLibvirt.shared()
    let connection = try await Connection.open(libvirt.uri)
    let guest = try await Guest("life", in: libvirt, userData: "#cloud-config\n# mark-42\n")
    let domain = try await connection.define(guest.xml)
    let events = try await connection.domainEvents()
    try await domain.start()
    await expect(.operationInvalid) { try await domain.start() }
    try await guest.waits(for: "ALOFT-READY")
    #expect(guest.serial.contains("ALOFT-HOSTNAME life") && guest.serial.contains("ALOFT-USERDATA # mark-42"))
    #expect(guest.serial.contains("boots=1 "))

    try await domain.shutdown(.acpi)
    let off = try await found("shut off") {
      let state = try await domain.state()
      return state.isActive ? nil : state
    }
    #expect(off == .shutOff(.shutdown))
    #expect(guest.serial.contains("ALOFT-SHUTDOWN acpi"))

    try await domain.start()
    try await guest.waits(for: "ALOFT-READY", count: 2)
    #expect(guest.serial.contains("boots=2 "))
    try await domain.destroy()
    #expect(try await domain.state() == .shutOff(.destroyed))
    try await domain.undefine()

    var lifecycle: [DomainEvent.Lifecycle] = []
    for await event in events where event.uuid == domain.uuid {
      if case .lifecycle(let kind) = event.kind { lifecycle.append(kind) }
      if lifecycle.last == .undefined { break }
    }
    #expect(lifecycle.filter { $0 == .started }.count == 2)
    #expect(lifecycle.contains(.shuttingDown(.guest)) && lifecycle.contains(.stopped(.shutdown)))
    #expect(lifecycle.contains(.stopped(.destroyed)))
  }

  @Test("a guest whose user data says aloft-ignore-acpi stays up when asked to power off")
  func stubborn() async throws {
    let libvirt = try await PrivateLibvirt.shared()
    let connection = try await Connection.open(libvirt.uri)
    let guest = try await Guest("stubborn", in: libvirt, userData: "#cloud-config\n# aloft-ignore-acpi\n")
    let domain = try await connection.define(guest.xml)
    try await domain.start()
    try await guest.waits(for: "ALOFT-READY")
    try await domain.shutdown(.acpi)
    try await guest.waits(for: "ALOFT-SHUTDOWN-IGNORED acpi")
    #expect(try await domain.state() == .running(.booted))
    try await domain.destroy()
    try await domain.undefine()
  }

  @Test("killing libvirtd ends the connection but no guest, and the next libvirtd knows them all")
  func libvirtdKilled() async throws {
    let libvirt = try await PrivateLibvirt.start()
    let connection = try await Connection.open(libvirt.uri)
    let guest = try await Guest("survivor", in: libvirt)
    let domain = try await connection.define(guest.xml)
    try await domain.setMetadata("<vm incarnation='2'/>", namespace: "urn:aloft", prefix: "aloft")
    try await domain.start(.paused)
    let pid = try #require(try libvirt.guestPid("survivor"))
    let events = try await connection.domainEvents()

    try await libvirt.kill9()
    for await _ in events {}
    #expect(connection.closeReason == .endOfFile || connection.closeReason == .error)
    await expect(.connectionLost) { _ = try await domain.state() }
    #expect(processRuns(pid))

    try await libvirt.restart()
    let second = try await Connection.open(libvirt.uri)
    let found = try #require(try await second.domains(metadataNamespace: "urn:aloft").first { $0.uuid == guest.uuid })
    #expect(found.state == .paused(.user) || found.state == .paused(.startingUp) || found.state == .paused(.unknown))
    #expect(
      found.metadata?.contains("incarnation=\"2\"") == true || found.metadata?.contains("incarnation='2'") == true)
    #expect(try libvirt.guestPid("survivor") == pid)
    try await second.domain(guest.uuid).resume()
    #expect(try await second.domain(guest.uuid).state() == .running(.unpaused))
    try await libvirt.stop()
    #expect(!processRuns(pid))
  }

  @Test("a QEMU that is killed is reported at once, and its domain is off because it crashed")
  func qemuKilled() async throws {
    let libvirt = try await PrivateLibvirt.shared()
    let connection = try await Connection.open(libvirt.uri)
    let guest = try await Guest("victim", in: libvirt)
    let domain = try await connection.define(guest.xml)
    try await domain.start(.paused)
    let events = try await connection.domainEvents()
    let pid = try #require(try libvirt.guestPid("victim"))
    #expect(kill(pid, SIGKILL) == 0)
    for await event in events where event.uuid == domain.uuid {
      if event.kind == .lifecycle(.stopped(.failed)) { break }
    }
    #expect(try await domain.state() == .shutOff(.crashed))
    try await domain.undefine()
  }

  @Test("snapshots of a guest that is off are listed, reverted to and deleted")
  func snapshots() async throws {
    let libvirt = try await PrivateLibvirt.shared()
    let connection = try await Connection.open(libvirt.uri)
    let guest = try await Guest("frozen", in: libvirt)
    let domain = try await connection.define(guest.xml)
    let xml = "<domainsnapshot><name>before</name><disks><disk name='vdb' snapshot='no'/></disks></domainsnapshot>"
    #expect(try await domain.createSnapshot(xml) == "before")
    #expect(try await domain.snapshots() == ["before"])
    try await domain.revert(toSnapshot: "before")
    await expect(.operationInvalid) { try await domain.undefine([]) }
    try await domain.deleteSnapshot("before")
    await expect(.noDomainSnapshot) { try await domain.revert(toSnapshot: "before") }
    try await domain.undefine()
  }
}
