import AloftCLI

@main
enum Main {
  static func main() { CommandLineTool.main() }
}
