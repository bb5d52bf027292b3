import Foundation
import Libvirt
import LibvirtTestSupport
import Testing

@Suite struct HostTests {
  @Test("capabilities tell the processor, the NUMA cells and whether KVM works")
  func capabilities() throws {
    let capabilities = try Capabilities(
      xml: """
        <capabilities><host><uuid>11111111-2222-4333-8444-555555555555</uuid>
        <cpu><arch>x86_64</arch><model>EPYC</model><vendor>AMD</vendor><topology sockets='1' dies='1' cores='4' threads='2'/>
        <feature name='svm'/><pages unit='KiB' size='4'/><pages unit='KiB' size='2048'/></cpu>
        <topology><cells num='1'><cell id='0'><memory unit='KiB'>1000</memory><cpus num='8'/></cell></cells></topology></host>
        <guest><os_type>hvm</os_type><arch name='x86_64'><wordsize>64</wordsize><emulator>/usr/bin/q</emulator>
        <machine canonical='pc-q35-7.2'>q35</machine><domain type='qemu'/><domain type='kvm'><machine>x</machine></domain></arch>
        </guest></capabilities>
        """)
    #expect(capabilities.hostUUID == UUID(uuidString: "11111111-2222-4333-8444-555555555555"))
    #expect(capabilities.topology?.cores == 4 && capabilities.topology?.threads == 2)
    #expect(capabilities.cpuModel == "EPYC" && capabilities.cpuFeatures == ["svm"])
    #expect(capabilities.numaCells.map(\.memoryKiB) == [1000] && capabilities.numaCells.map(\.cpus) == [8])
    #expect(capabilities.pageSizesKiB == [4, 2048])
    #expect(capabilities.hasKVM && capabilities.guests[0].machines.contains("q35"))
  }

  @Test("a real host tells its versions, memory and what q35 guests can have")
  func realHost() async throws {
    let connection = try await Connection.open(PrivateLibvirt.shared().uri)
    #expect(try await connection.driverName() == "QEMU")
    #expect(try await connection.libvirtVersion() >= LibvirtVersion(number: 9_000_000))
    #expect(try await connection.hypervisorVersion().major >= 7)
    let info = try await connection.nodeInfo()
    let memory = try await connection.nodeMemory()
    #expect(info.cpus > 0 && memory.total > 0 && memory.free <= memory.total)
    let capabilities = try await connection.capabilities()
    #expect(capabilities.architecture == info.architecture && capabilities.hostUUID != nil)
    let domain = try await connection.domainCapabilities(architecture: "x86_64", machine: "q35", type: "qemu")
    #expect(domain.machine.contains("q35") && domain.firmwares.contains("bios"))
    #expect(domain.usableCPUModels.contains("qemu64"))
  }

  @Test("two private libvirtds on one machine are different hosts")
  func hostUUIDs() async throws {
    let other = try await PrivateLibvirt.start()
    let uuids = try await [PrivateLibvirt.shared(), other].asyncMap { libvirt in
      try await Connection.open(libvirt.uri).capabilities().hostUUID
    }
    #expect(uuids[0] != uuids[1])
    try await other.stop()
  }

  @Test("a network is defined, started, listed, stopped and undefined")
  func networks() async throws {
    let connection = try await TestHypervisor.open()
    let network = try await connection.defineNetwork(
      "<network><name>lan</name><bridge name='virbr9'/><ip address='192.0.2.1' netmask='255.255.255.0'/></network>")
    try await network.start()
    #expect(try await network.isActive())
    #expect(try await connection.networks().contains { $0.name == "lan" })
    try await network.stop()
    try await network.undefine()
    await expect(.noNetwork) { _ = try await network.xml() }
  }
}

extension Sequence {
  fileprivate func asyncMap<Value>(_ transform: (Element) async throws -> Value) async throws -> [Value] {
    var values: [Value] = []
    for element in self { values.append(try await transform(element)) }
    return values
  }
}
