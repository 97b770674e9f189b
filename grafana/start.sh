#!/bin/sh
# Assembles Grafana's provisioning from this folder and from the secrets that are set, then runs the command
# in its arguments, which starts Grafana: in the container the image's own /run.sh; elsewhere, for example,
# grafana server --homepath /usr/share/grafana.
# Any error in an alerting file, even an empty Slack URL, stops Grafana. So a contact point is written only
# when its secret is set. Secrets are never written to a file: the files name the variables, and
# Grafana expands them.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
: "${GF_SECURITY_ADMIN_PASSWORD:?set it (in .env, with Docker): the password of the administrator of Grafana}"

# Without Docker the password is in the data directory of the embedded QuestDB, which writes it when it starts
# for the first time.
if [ -z "${QDB_PG_READONLY_PASSWORD:-}" ] && [ -n "${PAIRFLOW_QUESTDB_DIR:-}" ]; then
    kept="$PAIRFLOW_QUESTDB_DIR/run/passwords"
    left="${PAIRFLOW_WAIT_S:-60}"
    [ -e "$kept" ] || echo "grafana: waiting for $kept, which QuestDB writes when it starts" >&2
    until [ -e "$kept" ] || [ "$left" -le 0 ]; do
        sleep 1
        left=$((left - 1))
    done
    QDB_PG_READONLY_PASSWORD=$(sed -n 's/^QDB_PG_READONLY_PASSWORD=//p' "$kept" 2> /dev/null) || {
        echo "grafana: PAIRFLOW_QUESTDB_DIR: $kept cannot be read: start the pipeline there first," \
            "as the same user" >&2
        exit 1
    }
    export QDB_PG_READONLY_PASSWORD
fi
missing="set it (in .env, with Docker): the password of QuestDB's read-only user, or PAIRFLOW_QUESTDB_DIR"
: "${QDB_PG_READONLY_PASSWORD:?$missing}"
refuse() {
    echo "grafana: $1: the default password is refused: set another one in .env," \
        "for example the output of openssl rand -hex 24" >&2
    exit 1
}
[ "$GF_SECURITY_ADMIN_PASSWORD" != admin ] || refuse GF_SECURITY_ADMIN_PASSWORD
[ "$QDB_PG_READONLY_PASSWORD" != quest ] || refuse QDB_PG_READONLY_PASSWORD
export QDB_PG_READONLY_USER="${QDB_PG_READONLY_USER:-grafana}"
export PAIRFLOW_QUESTDB="${PAIRFLOW_QUESTDB:-127.0.0.1:8812}"
export PAIRFLOW_DASHBOARDS="$here/dashboards"
export GF_PATHS_PROVISIONING="${PAIRFLOW_PROVISIONING:-${GF_PATHS_DATA:-/tmp}/pairflow-provisioning}"

# Settings of Grafana. The environment may set each of them to another value.
: "${GF_SERVER_HTTP_ADDR:=127.0.0.1}"
: "${GF_AUTH_ANONYMOUS_ENABLED:=false}"
: "${GF_USERS_ALLOW_SIGN_UP:=false}"
: "${GF_DASHBOARDS_MIN_REFRESH_INTERVAL:=1s}" # the dashboards refresh every 2 s, Grafana's default is 5 s
: "${GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH:=$here/dashboards/overview.json}"
: "${GF_DATABASE_WAL:=true}" # otherwise the evaluation of alerts fails with "database is locked"
# Until the first poll, alerts go to Grafana's default contact point.
: "${GF_UNIFIED_ALERTING_ALERTMANAGER_CONFIG_POLL_INTERVAL:=10s}"
# Rules are evaluated every 10 s. A database that hangs counts as unreachable after 5 s and one attempt.
: "${GF_UNIFIED_ALERTING_EVALUATION_TIMEOUT:=5s}"
: "${GF_UNIFIED_ALERTING_MAX_ATTEMPTS:=1}"
# An alert is reported as over once, and not again with each message of its group for 15 minutes.
: "${GF_UNIFIED_ALERTING_RESOLVED_ALERT_RETENTION:=0s}"
: "${GF_FEATURE_TOGGLES_ENABLE:=postgresDSUsePGX}" # the other driver waits forever for a database that hangs
: "${GF_ANALYTICS_REPORTING_ENABLED:=false}"
: "${GF_ANALYTICS_CHECK_FOR_UPDATES:=false}"
: "${GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES:=false}"
: "${GF_PLUGINS_PREINSTALL_DISABLED:=true}"
# No plugins are installed, and without a network the retrieval of their keys logs an error.
: "${GF_PLUGINS_PUBLIC_KEY_RETRIEVAL_DISABLED:=true}"
: "${GF_NEWS_NEWS_FEED_ENABLED:=false}"
export GF_SERVER_HTTP_ADDR GF_AUTH_ANONYMOUS_ENABLED GF_USERS_ALLOW_SIGN_UP GF_DATABASE_WAL \
    GF_DASHBOARDS_MIN_REFRESH_INTERVAL GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH \
    GF_UNIFIED_ALERTING_ALERTMANAGER_CONFIG_POLL_INTERVAL \
    GF_UNIFIED_ALERTING_EVALUATION_TIMEOUT GF_UNIFIED_ALERTING_MAX_ATTEMPTS \
    GF_UNIFIED_ALERTING_RESOLVED_ALERT_RETENTION GF_FEATURE_TOGGLES_ENABLE GF_ANALYTICS_REPORTING_ENABLED \
    GF_ANALYTICS_CHECK_FOR_UPDATES GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES GF_PLUGINS_PREINSTALL_DISABLED \
    GF_PLUGINS_PUBLIC_KEY_RETRIEVAL_DISABLED GF_NEWS_NEWS_FEED_ENABLED

# The folder is emptied below, so it must be one that this script has made.
if [ -n "$(ls -A "$GF_PATHS_PROVISIONING" 2>/dev/null)" ] && [ ! -e "$GF_PATHS_PROVISIONING/.pairflow" ]; then
    echo "grafana: PAIRFLOW_PROVISIONING: $GF_PATHS_PROVISIONING holds files that are not Pairflow's:" \
        "name another folder" >&2
    exit 1
fi
rm -rf "$GF_PATHS_PROVISIONING"
mkdir -p "$GF_PATHS_PROVISIONING/plugins" "$GF_PATHS_PROVISIONING/alerting"
touch "$GF_PATHS_PROVISIONING/.pairflow"
cp -R "$here/provisioning/." "$GF_PATHS_PROVISIONING/"

# E-mail is on when a server and an address are set. Grafana does not start unless the sender is a full
# address.
mail=
if [ -n "${SMTP_HOST:-}" ] && [ -n "${ALERT_EMAIL_TO:-}" ]; then
    sender="${SMTP_FROM:-pairflow@localhost.localdomain}"
    case $sender in
    ?*@?*.?*)
        mail=yes
        export GF_SMTP_ENABLED=true GF_SMTP_HOST="$SMTP_HOST"
        export GF_SMTP_USER="${SMTP_USER:-}" GF_SMTP_PASSWORD="${SMTP_PASSWORD:-}"
        export GF_SMTP_FROM_ADDRESS="$sender" GF_SMTP_FROM_NAME=Pairflow
        ;;
    *)
        echo "grafana: SMTP_FROM: expected an address such as pairflow@example.org, got '$sender':" \
            "no e-mail is sent" >&2
        ;;
    esac
fi

# Adds a contact point when its secret is set. Otherwise Grafana deletes the one of an earlier start.
receivers=
gone=
receiver() { # uid type secret settings
    if [ -n "$3" ]; then
        receivers="$receivers
      - uid: $1
        type: $2
        settings:
$4"
    else
        gone="$gone
  - {orgId: 1, uid: $1}"
    fi
}
receiver pairflow-slack slack "${SLACK_WEBHOOK_URL:-}" '          url: $SLACK_WEBHOOK_URL
          title: "{{ template \"pairflow.title\" . }}"
          text: "{{ template \"pairflow.text\" . }}"'
receiver pairflow-email email "$mail" '          addresses: $ALERT_EMAIL_TO
          singleEmail: true
          subject: "{{ template \"pairflow.title\" . }}"
          message: "{{ template \"pairflow.text\" . }}"'
# Every user of Grafana can see the address of the webhook, but not the token.
token=
[ -z "${ALERT_WEBHOOK_TOKEN:-}" ] || token='
          authorization_scheme: Bearer
          authorization_credentials: $ALERT_WEBHOOK_TOKEN'
receiver pairflow-webhook webhook "${ALERT_WEBHOOK_URL:-}" '          url: $ALERT_WEBHOOK_URL'"$token"

muted=
if [ -z "$receivers" ]; then
    muted=always
    echo "grafana: neither SLACK_WEBHOOK_URL, nor SMTP_HOST with ALERT_EMAIL_TO, nor ALERT_WEBHOOK_URL" \
        "is set: alerts are shown, but nobody is notified" >&2
    # Grafana wants at least one contact point. The routes are muted, so this one gets no message.
    receiver pairflow-nobody webhook yes '          url: http://127.0.0.1:9/nobody-is-notified'
else
    receiver pairflow-nobody webhook '' ''
fi
sed -i "s/__MUTED__/$muted/" "$GF_PATHS_PROVISIONING/alerting/policies.yaml"

cat > "$GF_PATHS_PROVISIONING/alerting/contact-points.yaml" <<EOF
apiVersion: 1
contactPoints:
  - orgId: 1
    name: pairflow
    receivers:$receivers
deleteContactPoints:$gone
EOF

exec "$@"
