import ArgumentParser
import IPAddressing
import NodeAgent
import ProgramSettings
import Testing

@testable import aloft_agent

@Suite("Settings of aloft-agent")
struct AgentSettingsTests {
  func settings(_ arguments: String..., environment: [String: String] = [:]) throws -> AgentSettings {
    try AgentSettings(options: try AgentOptions.parse(arguments), environment: environment)
  }

  @Test("a URL is all that is needed; everything else has a default")
  func defaults() throws {
    let settings = try settings("--url", "https://a:8443")
    #expect(settings.urls == ["https://a:8443"])
    #expect(settings.ca == nil && settings.name == nil && settings.joinToken == nil)
    #expect(settings.data == "/var/lib/aloft-agent" && settings.libvirt == "qemu:///system")
    #expect(settings.libvirtState == "/var/lib/libvirt/qemu")
    #expect(settings.capacity.accelerator == .auto && settings.capacity.vcpus == nil)
    #expect(settings.serialLogKib == 1024 && settings.parallel == 4 && settings.logLevel == .info)
  }

  @Test("every setting can come from the command line, the environment and the file")
  func places() throws {
    // What each means is looked at once more in the values themselves.
    let values = [
      "url": "https://a:1", "ca": "/ca.crt", "data": "/data", "libvirt": "qemu+unix:///system",
      "libvirt-state": "/run/state", "name": "n1",
      "join-token": "secret", "accelerator": "tcg", "vcpus": "3", "memory-mib": "4096", "disk-gib": "50",
      "reserved-memory-mib": "7", "reserved-disk-gib": "8", "pool": "fast=/srv/fast", "serial-log-kib": "64",
      "parallel": "2",
      "log-level": "debug", "ovs": "tcp:127.0.0.1:6640", "tunnel-address": "192.0.2.7",
      "bridge-mapping": "external=br-ex", "datapath": "userspace",
    ]
    #expect(Set(values.keys) == Set(AgentSetting.all.map(\.name)))
    let arguments = values.flatMap { ["--" + $0.key, $0.value] }
    let environment = Dictionary(
      uniqueKeysWithValues: AgentSetting.all.map { ($0.variable, values[$0.name] ?? "") })
    let file = try SettingsFile(values.map { "\($0.key): \"\($0.value)\"" }.joined(separator: "\n"))
    for found in [
      try AgentSettings(options: try AgentOptions.parse(arguments), environment: [:]),
      try settings(environment: environment), try settings("--config", file.path),
      try settings(environment: ["ALOFT_AGENT_CONFIG": file.path]),
    ] {
      #expect(found.urls == ["https://a:1"] && found.ca == "/ca.crt" && found.data == "/data")
      #expect(found.libvirtState == "/run/state")
      #expect(found.libvirt == "qemu+unix:///system" && found.name == "n1" && found.joinToken == "secret")
      #expect(found.capacity.accelerator == .tcg && found.capacity.vcpus == 3)
      #expect(found.capacity.memoryMib == 4096 && found.capacity.diskGib == 50)
      #expect(found.capacity.reservedMemoryMib == 7 && found.capacity.reservedDiskGib == 8)
      #expect(found.pools == ["fast": "/srv/fast"])
      #expect(
        found.network
          == NetworkSettings(
            ovs: "tcp:127.0.0.1:6640", tunnelAddress: IPAddress("192.0.2.7"), bridgeMappings: ["external": "br-ex"],
            datapath: .userspace))
      #expect(found.serialLogKib == 64 && found.parallel == 2 && found.logLevel == .debug)
    }
  }

  @Test("several replicas are several options, a list in the file, or commas in the environment")
  func replicas() throws {
    let file = try SettingsFile("url: [\"https://a:1\", \"https://b:2\"]")
    let both = ["https://a:1", "https://b:2"]
    #expect(try settings("--config", file.path).urls == both)
    #expect(try settings("--url", "https://a:1", "--url", "https://b:2").urls == both)
    #expect(try settings(environment: ["ALOFT_AGENT_URL": "https://a:1,https://b:2"]).urls == both)
  }

  @Test(
    "what cannot work is refused with the reason",
    arguments: [
      ([], "--url is missing"), (["--url", "aloft:8443"], "--url 'aloft:8443' must begin with https://"),
      (["--url", "https://a", "--data", "here"], "--data 'here' must be an absolute path"),
      (["--url", "https://a", "--pool", "fast"], "--pool 'fast' must be NAME=DIRECTORY"),
      (["--url", "https://a", "--pool", "fast=here"], "--pool 'fast=here' must be NAME=DIRECTORY"),
      (["--url", "https://a", "--pool", "local=/a"], "the pool `local` is in the directory of --data"),
      (["--url", "https://a", "--pool", "a=rbd:"], "--pool 'a=rbd:' must be NAME=rbd:POOL"),
      (["--url", "https://a", "--pool", "a=rbd:p:conf=c"], "must be NAME=rbd:POOL[:id=CLIENT]"),
      (["--url", "https://a", "--pool", "a=rbd:p:key=/c"], "must be NAME=rbd:POOL[:id=CLIENT]"),
      (["--url", "https://a", "--pool", "a=rbd:p", "--pool", "b=rbd:p"], "--pool names the Ceph pool 'p' twice"),
      (["--url", "https://a", "--pool", "a=/a", "--pool", "a=rbd:p"], "--pool names the pool 'a' twice"),
      (["--url", "https://a", "--pool", "a=/a", "--pool", "b=/a"], "--pool names the directory '/a' twice"),
      (["--url", "https://a", "--data", "/a", "--pool", "a=/a"], "--pool 'a' is in the directory of --data"),
      (["--url", "https://a", "--parallel", "0"], "--parallel is 0, not between 1 and 64"),
      (["--url", "https://a", "--accelerator", "xen"], "--accelerator is 'xen'; it is one of auto, kvm, tcg"),
      (["--url", "https://a", "--log-level", "loud"], "--log-level is 'loud'; it is one of trace"),
      (["--url", "https://a", "--memory-mib", "1"], "--memory-mib is 1, not between 64 and"),
      (["--url", "https://a", "--config", "/nowhere.yaml"], "/nowhere.yaml cannot be read"),
    ])
  func refusals(_ arguments: [String], _ reason: String) {
    let said = refusal {
      _ = try AgentSettings(options: try AgentOptions.parse(arguments), environment: [:])
    }
    #expect(said.contains(reason), "\(said)")
  }

  @Test("a pool of a Ceph cluster is a pool, a client and two files, which have usual names")
  func clusters() throws {
    let found = try settings(
      "--url", "https://a:1", "--pool", "fast=/srv/fast", "--pool", "a=rbd:vms", "--pool",
      "b=rbd:more:keyring=/k:id=node1:conf=/c")
    #expect(found.pools == ["fast": "/srv/fast"])
    #expect(
      found.clusters == [
        "a": CephAccess(
          pool: "vms", client: "aloft", configuration: "/etc/ceph/ceph.conf",
          keyring: "/etc/ceph/ceph.client.aloft.keyring"),
        "b": CephAccess(pool: "more", client: "node1", configuration: "/c", keyring: "/k"),
      ])
  }

  @Test("the help tells the three names of each setting")
  func help() {
    let text = AloftAgent.helpMessage(columns: 1000)
    for setting in AgentSetting.all {
      #expect(text.contains("--\(setting.name) "), "\(setting.name)")
      #expect(text.contains("(\(setting.variable); in the file: \(setting.name))"), "\(setting.name)")
    }
  }

  @Test("what cannot be a switch, an address or a mapping is refused, and a physical network has one bridge")
  func networks() throws {
    for wrong in [
      ["--ovs", "db.sock"], ["--ovs", "ssl:127.0.0.1:6640"], ["--tunnel-address", "node1"],
      ["--tunnel-address", "fe80::1"], ["--tunnel-address", "2001:db8::7"], ["--bridge-mapping", "external"],
      ["--datapath", "fast"],
      ["--bridge-mapping", "a=br-a", "--bridge-mapping", "a=br-b"],
    ] {
      #expect(throws: (any Error).self, "\(wrong)") {
        try AgentSettings(options: try AgentOptions.parse(["--url", "https://a:1"] + wrong), environment: [:])
      }
    }
    let mapped = try settings("--url", "https://a:1", "--bridge-mapping", "a=br-a", "--bridge-mapping", "b=br-b")
    #expect(mapped.network.bridgeMappings == ["a": "br-a", "b": "br-b"])
    #expect(mapped.network.ovs == NetworkSettings.defaultOVS && mapped.network.datapath == .auto)
  }
}
