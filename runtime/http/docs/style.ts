/** The style of every page; it stands in the page, and the page's policy allows it by its digest. Light or dark as the reader has it. */
export const STYLE = `
:root { color-scheme: light dark; --text: light-dark(#1c2430, #dfe5ee); --faint: light-dark(#5d6b7e, #93a0b3); --page: light-dark(#fff, #12161d);
  --box: light-dark(#f5f7fa, #1a202a); --line: light-dark(#dfe4ea, #2c3442); --link: light-dark(#0b5cad, #7db8f5);
  --get: light-dark(#0b6b4f, #5fd0a5); --post: light-dark(#0b5cad, #7db8f5); --patch: light-dark(#8a5a00, #e5b75b); --delete: light-dark(#ad1f2d, #f28b95); }
* { box-sizing: border-box; }
html { scroll-padding-top: 1rem; }
body { margin: 0; background: var(--page); color: var(--text); font: 1rem/1.6 system-ui, sans-serif; display: grid; grid-template-columns: 19rem minmax(0, 1fr); }
nav { border-right: 1px solid var(--line); background: var(--box); padding: 1.5rem 1.25rem; height: 100vh; position: sticky; top: 0; overflow-y: auto; font-size: .9rem; }
nav ul { list-style: none; margin: 0 0 1.25rem; padding: 0; } nav li { margin: .2rem 0; overflow-wrap: anywhere; } nav a { text-decoration: none; } nav a:hover, nav a:focus-visible { text-decoration: underline; } nav h2 { font-size: .8rem; color: var(--faint); margin: 0 0 .3rem; border: 0; padding: 0; }
main { padding: 2rem clamp(1.25rem, 5vw, 4rem) 6rem; max-width: 62rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 1rem; } h2 { font-size: 1.4rem; margin: 3rem 0 1rem; padding-top: 1rem; border-top: 1px solid var(--line); }
h3 { font-size: 1.1rem; margin: 2.5rem 0 .5rem; } h4 { font-size: .95rem; margin: 1.25rem 0 .4rem; }
a { color: var(--link); text-underline-offset: .15em; } a:focus-visible, summary:focus-visible, [role=region]:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
code { font: .88em/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; background: var(--box); border-radius: .25rem; padding: .1em .3em; overflow-wrap: anywhere; }
pre { background: var(--box); border: 1px solid var(--line); border-radius: .5rem; padding: .9rem 1rem; overflow-x: auto; margin: .5rem 0; } pre code { padding: 0; background: none; overflow-wrap: normal; }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: .92rem; margin: .5rem 0; } th { color: var(--faint); font-weight: 600; }
th, td { text-align: left; vertical-align: top; padding: .45rem .75rem .45rem 0; border-bottom: 1px solid var(--line); } td code { overflow-wrap: normal; }
summary { cursor: pointer; color: var(--faint); margin: .6rem 0; } .faint { color: var(--faint); }
.method { font: 700 .78rem/1 ui-monospace, Menlo, Consolas, monospace; display: inline-block; min-width: 3.6rem; } h3 .method { font-size: .95rem; min-width: 0; margin-right: .5rem; }
.get { color: var(--get); } .post { color: var(--post); } .patch { color: var(--patch); } .delete { color: var(--delete); }
@media (max-width: 52rem) { body { display: block; } nav { height: auto; position: static; border: 0; border-bottom: 1px solid var(--line); } }
@media print { nav { display: none; } body { display: block; } }
`
