import AloftModel
import ArgumentParser
import JSON

/// `aloft placement`
struct PlacementCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "placement", abstract: "Where would it fit?", subcommands: [Explain.self])

  /// `aloft placement explain`
  struct Explain: ServerCommand {
    static let configuration = CommandConfiguration(
      abstract: "Ask whether a virtual machine would fit, and if not why.",
      discussion: "Nothing is claimed. Ends with exit code 4 when it would not fit.")

    @Option(help: "Virtual CPUs.")
    var vcpus: Int

    @Option(help: ArgumentHelp("Memory: 512 (MiB), 512MiB, 2GiB.", valueName: "size"))
    var memory: MemorySize

    @Option(help: ArgumentHelp("Boot disk: 10 (GiB), 10GiB, 1TiB.", valueName: "size"))
    var disk: DiskSize

    @Option(help: "How its CPU may be virtualized.")
    var accelerator: AcceleratorChoice?

    @Option(help: ArgumentHelp("A label that its node must have. Can be repeated.", valueName: "key=value"))
    var nodeSelector: [LabelPair] = []

    @Option(help: ArgumentHelp("A volume that it is to have. Can be repeated.", valueName: "name"))
    var volume: [String] = []

    @OptionGroup var key: KeyOption
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      var body: JSONObject = [
        "vcpus": .integer(Int64(vcpus)), "memory_mib": .integer(Int64(memory.mebibytes)),
        "disk_gib": .integer(Int64(disk.gibibytes)),
      ]
      body["accelerator"] = accelerator.map { .string($0.rawValue) }
      if !nodeSelector.isEmpty { body["node_selector"] = LabelPair.object(nodeSelector) }
      if !volume.isEmpty { body["volumes"] = .array(volume.map { .string($0) }) }
      let call = APICall(
        .post, APIPath.path("placement", "explain"), body: .object(body), key: session.key(key))
      let answer = try await session.api.send(call).json
      let fits = answer["fits"]?.boolValue ?? false
      switch session.printer.format {
      case .table, .name: try await session.printer.write(Self.text(answer, fits: fits))
      case .json: try await session.printer.write(PrettyJSON.text(answer))
      case .yaml: try await session.printer.write(try YAMLText.text(answer))
      }
      if !fits { throw .alreadyTold(.refused) }
    }

    static func text(_ answer: JSONValue, fits: Bool) -> String {
      let lines = fits ? [] : CommandFailure.refusal(answer["refusal"]).map { "  " + PrintableText.sanitized($0) }
      return ([fits ? "fits" : "does not fit"] + lines).map { $0 + "\n" }.joined()
    }
  }
}
