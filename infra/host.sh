#!/bin/bash
# First start of the phase-2 host. It keeps no data: replacing it costs the minutes that this takes.
set -euo pipefail
COMPOSE=v2.40.3

dnf install -y docker jq
systemctl enable --now docker
mkdir -p /usr/local/lib/docker/cli-plugins /opt/agents-cloud
cd /tmp
url=https://github.com/docker/compose/releases/download/$COMPOSE/docker-compose-linux-aarch64
curl --fail --silent --show-error --location --retry 5 --remote-name "$url" --remote-name "$url.sha256"
sha256sum --check docker-compose-linux-aarch64.sha256
install -m 755 docker-compose-linux-aarch64 /usr/local/lib/docker/cli-plugins/docker-compose

cat > /usr/local/bin/agents-cloud-refresh <<'SCRIPT'
#!/bin/bash
# Brings the host to the state of the release bucket. Compose restarts only what changed.
set -euo pipefail
exec 9>/run/agents-cloud.lock; flock --nonblock 9 || exit 0
umask 077
cd /opt/agents-cloud
aws s3 sync --delete --only-show-errors --exclude '*.env' --exclude .env "s3://$BUCKET/" .
parameter() { aws ssm get-parameter --with-decryption --name "$PARAMETERS/$1" --query Parameter.Value --output text 2>/dev/null || true; }
# Docker reads a value up to the end of its line: keys in PEM go in with \n, as GitHub's own tools accept them.
line() { value=$(parameter "$2" | awk '{printf "%s%s", sep, $0; sep="\\n"}'); [ -z "$value" ] || printf '%s=%s\n' "$1" "$value"; }
password=$(aws secretsmanager get-secret-value --secret-id "$DATABASE_SECRET" --query SecretString --output text | jq -r '.password|@uri')
{ echo "LOG_GROUP=$LOG_GROUP"; echo "OWNER_PASSWORD=$password"; } > .env
{ line WEBHOOK_SECRET webhook-secret; line GITHUB_APP_ID github-app-id; line GITHUB_APP_PRIVATE_KEY github-app-key; line OPENAI_API_KEY model-api-key; } > gateway.env
{ line GITHUB_TOKEN github-read-token; line OPENAI_API_KEY model-api-key; } > runner.env
aws ecr get-login-password | docker login --username AWS --password-stdin "$REGISTRY" > /dev/null
docker compose up --detach --remove-orphans --quiet-pull
docker image prune --force --filter until=168h > /dev/null
SCRIPT
chmod 755 /usr/local/bin/agents-cloud-refresh

cat > /etc/systemd/system/agents-cloud.service <<UNIT
[Unit]
After=docker.service network-online.target
Wants=network-online.target
[Service]
Type=oneshot
EnvironmentFile=/etc/agents-cloud.env
ExecStart=/usr/local/bin/agents-cloud-refresh
UNIT
cat > /etc/systemd/system/agents-cloud.timer <<UNIT
[Timer]
OnBootSec=10s
OnUnitActiveSec=60s
[Install]
WantedBy=timers.target
UNIT
systemctl daemon-reload
systemctl enable --now agents-cloud.timer
