import ArgumentParser
import ProgramSettings

/// What the agent can be told. The texts are those of `--help`.
enum AgentSetting {
  static let prefix = "ALOFT_AGENT_"
  static let configVariable = "ALOFT_AGENT_CONFIG"

  static let url = setting(
    "url", "A base URL of the control plane, such as https://aloft.example:8443; several replicas are tried in turn.")
  static let ca = setting(
    "ca", "A PEM file with the authorities that sign the control plane's certificates. Default: the system's.")
  static let data = setting(
    "data", "The directory for images, disks, logs and the node's identity. Default: /var/lib/aloft-agent.")
  static let libvirt = setting("libvirt", "The libvirt to use. Default: qemu:///system.")
  static let libvirtState = setting(
    "libvirt-state",
    "Where libvirt keeps what opens secrets of guests; encrypted volumes need a tmpfs there. Default: /var/lib/libvirt/qemu."
  )
  static let name = setting("name", "The node's name when it joins. Default: the host's name.")
  static let joinToken = setting(
    "join-token", "The one-time token with which a node joins; one that was used is not used again.")
  static let accelerator = setting(
    "accelerator",
    "kvm, tcg (emulation) or auto: KVM where libvirt, /dev/kvm and the processor's flags agree. Default: auto.")
  static let vcpus = setting("vcpus", "Processors to offer. Default: all of the host's.")
  static let memoryMib = setting("memory-mib", "Memory to offer, in MiB. Default: the host's without the reserve.")
  static let diskGib = setting(
    "disk-gib",
    "Disk to offer, in GiB. Default: what is free or guests' in the data directory's file system, without the reserve.")
  static let reservedMemoryMib = setting(
    "reserved-memory-mib", "Memory kept for the host, in MiB. Default: 512 or 5 %, whichever is more.")
  static let reservedDiskGib = setting(
    "reserved-disk-gib", "Disk kept free for the host, in GiB. Default: 1 or 5 %, whichever is more.")
  static let pool = setting(
    "pool",
    """
    NAME=DIRECTORY: where this node keeps the volumes of a storage pool, beside `local`; it must exist. Or \
    NAME=rbd:POOL[:id=CLIENT][:conf=FILE][:keyring=FILE]: a pool of a Ceph cluster. Several are possible.
    """
  )
  static let serialLogKib = setting("serial-log-kib", "How much of each serial log is kept, in KiB. Default: 1024.")
  static let parallel = setting("parallel", "How many machines are worked on at a time. Default: 4.")
  static let ovs = setting("ovs", "Open vSwitch's database. Default: unix:/run/openvswitch/db.sock.")
  static let tunnelAddress = setting(
    "tunnel-address",
    "The IPv4 address to which other nodes send packets of networks. Default: the one from which this host reaches OVN's servers."
  )
  static let bridgeMapping = setting(
    "bridge-mapping",
    "PHYSICAL=BRIDGE: the bridge that leads to a physical network; it is made if it is not there. Several are possible."
  )
  static let datapath = setting(
    "datapath",
    "kernel, userspace (slow) or auto: the kernel's openvswitch module where it can be loaded. Default: auto.")
  static let logLevel = setting("log-level", "trace, debug, info, notice, warning, error or critical. Default: info.")

  static let all = [
    url, ca, data, libvirt, libvirtState, name, joinToken, accelerator, vcpus, memoryMib, diskGib, reservedMemoryMib,
    reservedDiskGib, pool, serialLogKib, parallel, ovs, tunnelAddress, bridgeMapping, datapath, logLevel,
  ]

  private static func setting(_ name: String, _ explanation: String) -> Setting {
    Setting(name, prefix: prefix, explanation)
  }
}

/// The options as they are given on the command line; what is not given is nil or empty.
struct AgentOptions: ParsableArguments {
  @Option(name: .long, help: "A YAML file with any of these options (ALOFT_AGENT_CONFIG).")
  var config: String?

  @Option(name: AgentSetting.url.flag, help: AgentSetting.url.help)
  var url: [String] = []
  @Option(name: AgentSetting.ca.flag, help: AgentSetting.ca.help)
  var ca: String?
  @Option(name: AgentSetting.data.flag, help: AgentSetting.data.help)
  var data: String?
  @Option(name: AgentSetting.libvirt.flag, help: AgentSetting.libvirt.help)
  var libvirt: String?
  @Option(name: AgentSetting.libvirtState.flag, help: AgentSetting.libvirtState.help)
  var libvirtState: String?
  @Option(name: AgentSetting.name.flag, help: AgentSetting.name.help)
  var name: String?
  @Option(name: AgentSetting.joinToken.flag, help: AgentSetting.joinToken.help)
  var joinToken: String?
  @Option(name: AgentSetting.accelerator.flag, help: AgentSetting.accelerator.help)
  var accelerator: String?
  @Option(name: AgentSetting.vcpus.flag, help: AgentSetting.vcpus.help)
  var vcpus: Int?
  @Option(name: AgentSetting.memoryMib.flag, help: AgentSetting.memoryMib.help)
  var memoryMib: Int?
  @Option(name: AgentSetting.diskGib.flag, help: AgentSetting.diskGib.help)
  var diskGib: Int?
  @Option(name: AgentSetting.reservedMemoryMib.flag, help: AgentSetting.reservedMemoryMib.help)
  var reservedMemoryMib: Int?
  @Option(name: AgentSetting.reservedDiskGib.flag, help: AgentSetting.reservedDiskGib.help)
  var reservedDiskGib: Int?
  @Option(name: AgentSetting.pool.flag, help: AgentSetting.pool.help)
  var pool: [String] = []
  @Option(name: AgentSetting.serialLogKib.flag, help: AgentSetting.serialLogKib.help)
  var serialLogKib: Int?
  @Option(name: AgentSetting.parallel.flag, help: AgentSetting.parallel.help)
  var parallel: Int?
  @Option(name: AgentSetting.ovs.flag, help: AgentSetting.ovs.help)
  var ovs: String?
  @Option(name: AgentSetting.tunnelAddress.flag, help: AgentSetting.tunnelAddress.help)
  var tunnelAddress: String?
  @Option(name: AgentSetting.bridgeMapping.flag, help: AgentSetting.bridgeMapping.help)
  var bridgeMapping: [String] = []
  @Option(name: AgentSetting.datapath.flag, help: AgentSetting.datapath.help)
  var datapath: String?
  @Option(name: AgentSetting.logLevel.flag, help: AgentSetting.logLevel.help)
  var logLevel: String?
}
