import { Html, markup } from '#src/kernel/text/html.ts';
import type { Language } from '#src/kernel/text/language.ts';
import type { Block, MailContent, ShownMessage } from './content.ts';

/** What surrounds the content of every mail. */
export interface Frame {
  readonly language: Language;
  /** What the mail calls this server. */
  readonly service: string;
  readonly url: string;
}

const FONT = 'font-family:system-ui,-apple-system,Segoe UI,Roboto,Hiragino Sans,Noto Sans JP,Meiryo,sans-serif';

// Mail programs without dark mode, or without style sheets, use the attributes.
const STYLE = new Html(`
:root{color-scheme:light dark;supported-color-schemes:light dark}
@media (prefers-color-scheme:dark){
.paper{background-color:#191816!important}
.card{background-color:#221f1c!important;border-color:#38352f!important}
.ink,.ink a{color:#ece8e0!important}
.soft,.soft a{color:#a09a8f!important}
.line{border-color:#38352f!important}
.mark{color:#e58f62!important}
}
@media (max-width:480px){.card{padding:24px 20px!important}}
`);

const cell = (className: string, style: string, content: Html): Html =>
  markup`<tr>
    <td class="${className}" style="${FONT};${style}">${content}</td>
  </tr> `;

const messageRow = ({ sender, text, time }: ShownMessage): Html =>
  cell(
    'ink line',
    'font-size:15px;line-height:1.6;color:#23211d;padding:8px 0 8px 12px;border-left:3px solid #e2ded5',
    markup`<strong>${sender}</strong> <span class="soft" style="color:#6d685f;font-size:13px">${time}</span
      ><br />${text}`,
  );

const blockRows = (block: Block): Html => {
  switch (block.kind) {
    case 'text':
      return cell('ink', 'font-size:16px;line-height:1.7;color:#23211d;padding:0 0 16px', markup`${block.text}`);
    case 'small':
      return cell('soft', 'font-size:13px;line-height:1.7;color:#6d685f;padding:0 0 12px', markup`${block.text}`);
    case 'button':
      return markup`<tr>
          <td style="padding:8px 0 20px">
            <table role="presentation" cellpadding="0" cellspacing="0" border="0">
              <tr>
                <td bgcolor="#a3481f" style="border-radius:8px">
                  <a
                    href="${block.url}"
                    style="${FONT};display:inline-block;padding:12px 24px;font-size:16px;font-weight:600;line-height:1.4;color:#ffffff;text-decoration:none;border-radius:8px;background-color:#a3481f"
                    >${block.label}</a
                  >
                </td>
              </tr>
            </table>
          </td>
        </tr>
        ${cell('soft', 'font-size:13px;line-height:1.6;color:#6d685f;padding:0 0 20px;word-break:break-all', markup`<a href="${block.url}" class="soft" style="color:#6d685f">${block.url}</a>`)}`;
    case 'facts':
      return markup`<tr>
        <td style="padding:0 0 16px">
          <table role="presentation" cellpadding="0" cellspacing="0" border="0" width="100%">
            ${block.entries.map(
              ([label, value]) =>
                markup`<tr>
                  <td
                    class="soft"
                    valign="top"
                    style="${FONT};font-size:14px;line-height:1.6;color:#6d685f;padding:2px 16px 2px 0;white-space:nowrap"
                  >
                    ${label}
                  </td>
                  <td
                    class="ink"
                    width="100%"
                    style="${FONT};font-size:14px;line-height:1.6;color:#23211d;padding:2px 0;word-break:break-word"
                  >
                    ${value}
                  </td>
                </tr>`,
            )}
          </table>
        </td>
      </tr> `;
    case 'room':
      return markup`${cell('ink', 'font-size:16px;line-height:1.5;color:#23211d;padding:8px 0 8px', markup`<a href="${block.url}" class="mark" style="color:#a3481f;font-weight:600;text-decoration:none">${block.name}</a>`)}${block.messages.map(messageRow)}${
        block.more === ''
          ? markup``
          : cell('soft', 'font-size:13px;line-height:1.6;color:#6d685f;padding:6px 0 0 15px', markup`${block.more}`)
      }
        <tr>
          <td style="padding:0 0 16px;font-size:0;line-height:0">&nbsp;</td>
        </tr> `;
  }
};

/** A mail as HTML: tables and attributes, which all programs show alike; nothing is loaded from anywhere. */
export const mailHtml = (content: MailContent, { language, service, url }: Frame): string => {
  const { blocks, heading, preview, reason, subject, unsubscribe } = content;
  const end =
    unsubscribe === undefined
      ? markup``
      : markup` <a href="${unsubscribe.url}" class="soft" style="color:#6d685f">${unsubscribe.label}</a>`;
  const written = markup`<!doctype html>
    <html lang="${language}" dir="ltr">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width,initial-scale=1" />
        <meta name="color-scheme" content="light dark" />
        <meta name="supported-color-schemes" content="light dark" />
        <meta name="format-detection" content="telephone=no,date=no,address=no,email=no" />
        <title>${subject}</title>
        <style>
          ${STYLE}
        </style>
      </head>
      <body class="paper" bgcolor="#fbfaf7" style="margin:0;padding:0;background-color:#fbfaf7">
        <div style="display:none;max-height:0;overflow:hidden;font-size:1px;line-height:1px;opacity:0">${preview}</div>
        <table
          role="presentation"
          class="paper"
          width="100%"
          cellpadding="0"
          cellspacing="0"
          border="0"
          bgcolor="#fbfaf7"
          style="background-color:#fbfaf7"
        >
          <tr>
            <td align="center" style="padding:32px 12px">
              <table
                role="presentation"
                width="100%"
                cellpadding="0"
                cellspacing="0"
                border="0"
                style="max-width:560px"
              >
                ${cell('mark', 'font-size:15px;font-weight:600;letter-spacing:.04em;color:#a3481f;padding:0 0 12px', markup`${service}`)}
                <tr>
                  <td
                    class="card"
                    bgcolor="#ffffff"
                    style="background-color:#ffffff;border:1px solid #e2ded5;border-radius:12px;padding:32px"
                  >
                    <table role="presentation" width="100%" cellpadding="0" cellspacing="0" border="0">
                      ${cell('ink', 'font-size:22px;font-weight:600;line-height:1.4;color:#23211d;padding:0 0 16px', markup`${heading}`)}${blocks.map(blockRows)}
                    </table>
                  </td>
                </tr>
                ${cell('soft', 'font-size:13px;line-height:1.7;color:#6d685f;padding:16px 4px 0', markup`${reason}${end}<br /><a href="${url}" class="soft" style="color:#6d685f">${url}</a>`)}
              </table>
            </td>
          </tr>
        </table>
      </body>
    </html> `.text;
  // Indentation is for those who read this, not for those who read mail.
  return written.replace(/\s*\n\s*/g, '\n');
};

const blockText = (block: Block): string => {
  switch (block.kind) {
    case 'text':
    case 'small':
      return block.text;
    case 'button':
      return `${block.label}:\n${block.url}`;
    case 'facts':
      return block.entries.map(([label, value]) => `${label}: ${value}`).join('\n');
    case 'room': {
      const lines = block.messages.map(({ sender, text, time }) => `  ${sender} (${time})\n    ${text}`);
      return [`${block.name} <${block.url}>`, ...lines, ...(block.more === '' ? [] : [`  ${block.more}`])].join('\n');
    }
  }
};

/** The same mail as plain text. */
export const mailText = (content: MailContent, { service, url }: Frame): string => {
  const { blocks, heading, reason, unsubscribe } = content;
  const end = [reason, ...(unsubscribe === undefined ? [] : [`${unsubscribe.label}: ${unsubscribe.url}`])];
  return `${[heading, ...blocks.map(blockText)].join('\n\n')}\n\n-- \n${[...end, `${service} <${url}>`].join('\n')}\n`;
};
