/// The style of the documentation page: system fonts, light and dark, readable on a telephone.
enum DocsStyle {
  static let css = """
    :root{--ink:#1d2430;--dim:#5c6675;--paper:#fff;--shade:#f4f6f9;--line:#dde3ea;--link:#0b62c4;color-scheme:light dark}
    @media(prefers-color-scheme:dark){:root{--ink:#dfe5ee;--dim:#95a1b3;--paper:#14181f;--shade:#1d232d;--line:#323b49;\
    --link:#6cb0ff}}
    *{box-sizing:border-box}
    body{margin:0;display:grid;grid-template-columns:17rem minmax(0,1fr);font:15px/1.55 system-ui,sans-serif;\
    color:var(--ink);background:var(--paper)}
    nav{position:sticky;top:0;height:100vh;overflow-y:auto;padding:1.2rem;border-right:1px solid var(--line);\
    background:var(--shade);font-size:.87rem}
    nav a{display:block;padding:.1rem .5rem;color:inherit;text-decoration:none}nav a:hover{color:var(--link)}
    nav a.tag{margin-top:.8rem;padding-left:0;font-weight:600}
    main{padding:1.5rem 2.5rem 6rem;max-width:66rem}
    a{color:var(--link)}h1 small{color:var(--dim);font-size:1rem;font-weight:400}
    h2{margin-top:2.5rem;border-bottom:1px solid var(--line)}h4{margin:1.2rem 0 .4rem}
    code,pre{font:.87em/1.5 ui-monospace,monospace}code{background:var(--shade);border-radius:3px;padding:.05em .3em}
    pre{background:var(--shade);padding:.8rem;overflow-x:auto;border-radius:6px}
    details.operation,details.schema{border:1px solid var(--line);border-radius:6px;margin:.5rem 0;padding:0 .8rem}
    summary{cursor:pointer;padding:.45rem 0}summary span{color:var(--dim)}
    summary .method{display:inline-block;min-width:4.4rem;text-align:center;border-radius:4px;color:#fff;\
    background:#66707f;font:600 .75rem/1.6 system-ui,sans-serif}
    .method.get{background:#1a7f4b}.method.post{background:#0b62c4}.method.patch{background:#a86308}\
    .method.put{background:#7a4fc0}.method.delete{background:#c02b37}
    table{border-collapse:collapse;width:100%;margin:.4rem 0;font-size:.92em}
    th,td{text-align:left;vertical-align:top;padding:.3rem .6rem .3rem 0;border-top:1px solid var(--line)}
    th,.facts,.limits{color:var(--dim);font-size:.87em}b{font-weight:600}td b{color:#c02b37;font-size:.75em}
    .limits{display:block}.status{font-weight:600}.content{margin:.3rem 0 .6rem 1rem}
    @media(max-width:50rem){body{display:block}nav{position:static;height:auto;border:0}main{padding:1rem}}
    """
}
