import ArgumentParser

/// The options as they are given on the command line; what is not given is nil or empty.
struct AgentOptions: ParsableArguments {
  @Option(name: .long, help: "A YAML file with any of these options.")
  var config: String?

  @Option(
    name: .long,
    help: "A base URL of the control plane, such as https://aloft.example:8443. May be given several times.")
  var url: [String] = []

  @Option(
    name: .long,
    help: "A PEM file with the authorities that sign the control plane's certificates. Default: the system's.")
  var ca: String?

  @Option(
    name: .long, help: "The directory for images, disks, logs and the node's identity. Default: /var/lib/aloft-agent.")
  var data: String?

  @Option(name: .long, help: "The libvirt to use. Default: qemu:///system.")
  var libvirt: String?

  @Option(name: .long, help: "The node's name when it joins. Default: the host's name.")
  var name: String?

  @Option(name: .long, help: "The one-time token with which a new node joins.")
  var joinToken: String?

  @Option(
    name: .long,
    help: "kvm, tcg (emulation) or auto: KVM where libvirt, /dev/kvm and the processor's flags agree. Default: auto.")
  var accelerator: String?

  @Option(name: .long, help: "Processors to offer. Default: all of the host's.")
  var vcpus: Int?

  @Option(name: .long, help: "Memory to offer, in MiB. Default: the host's without the reserve.")
  var memoryMib: Int?

  @Option(name: .long, help: "Disk to offer, in GiB. Default: the data directory's file system without the reserve.")
  var diskGib: Int?

  @Option(name: .long, help: "Memory kept for the host, in MiB. Default: 512 or 5 %, whichever is more.")
  var reservedMemoryMib: Int?

  @Option(name: .long, help: "Disk kept free for the host, in GiB. Default: 1 or 5 %, whichever is more.")
  var reservedDiskGib: Int?

  @Option(name: .long, help: "How much of each serial log is kept, in KiB. Default: 1024.")
  var serialLogKib: Int?

  @Option(name: .long, help: "How many machines are worked on at a time. Default: 4.")
  var parallel: Int?

  @Option(name: .long, help: "trace, debug, info, notice, warning, error or critical. Default: info.")
  var logLevel: String?
}
