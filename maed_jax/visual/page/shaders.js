// The GPU programs. World: y up, metres; the video's camera is at its origin and looks along -z.
// Arrays are in camera axes (y down, z forward), as in the files. `joints` is the number of joints.
// Positions are those of the body at rest, with the blend shapes of shape and pose added.
const bodyVertexShader = (joints) => `#version 300 es
precision highp float;
precision highp int;
layout(location = 0) in vec3 position;
layout(location = 1) in vec3 normal;
layout(location = 2) in uvec4 skin_joints;
layout(location = 3) in vec4 skin_weights;
uniform vec4 bones[${3 * joints}];           // three rows [R | t] per joint
uniform vec3 translation;              // camera axes
uniform mat4 to_clip;
uniform vec4 crop;                     // over the video: clip x, y = crop.xy * body's x, y + crop.zw
uniform int kind;                      // 0: in the room, 1: its shadow, 2: over the video
uniform float floor_y;
uniform vec3 light;
out vec3 world_normal;
out vec3 world;

void main() {
  vec4 rows[3];
  for (int row = 0; row < 3; row++) {
    rows[row] = vec4(0.0);
    for (int k = 0; k < 4; k++) rows[row] += skin_weights[k] * bones[3 * int(skin_joints[k]) + row];
  }
  vec4 point = vec4(position, 1.0);
  vec3 posed = vec3(dot(rows[0], point), dot(rows[1], point), dot(rows[2], point));
  vec3 turned = vec3(dot(rows[0].xyz, normal), dot(rows[1].xyz, normal), dot(rows[2].xyz, normal));
  const vec3 upwards = vec3(1.0, -1.0, -1.0);
  world_normal = turned * upwards;
  world = (posed + translation) * upwards;
  if (kind == 1) {
    float above = max(world.y - floor_y, 0.0);
    world = vec3(world.x - light.x / light.y * above, floor_y, world.z - light.z / light.y * above);
  }
  gl_Position = to_clip * vec4(world, 1.0);
  if (kind == 2) {
    float depth = posed.z + translation.z;
    gl_Position = vec4(crop.xy * posed.xy + crop.zw, depth / (1.0 + abs(depth)), 1.0);
  }
}`;

const BODY_FRAGMENT_SHADER = `#version 300 es
precision highp float;
precision highp int;
in vec3 world_normal;
in vec3 world;
uniform vec3 color;
uniform vec3 eye;
uniform vec3 light;
uniform int kind;
out vec4 result;

void main() {
  if (kind == 1) {
    result = vec4(0.0, 0.0, 0.0, 0.22);
    return;
  }
  vec3 n = normalize(world_normal);
  vec3 view = normalize(eye - world);
  if (dot(n, view) < 0.0 && kind == 0) n = -n;
  vec3 base = pow(color, vec3(2.2));
  float sky = 0.5 + 0.5 * n.y;
  float key = max(dot(n, normalize(light)), 0.0);
  float fill = max(dot(n, normalize(vec3(-0.7, 0.2, 0.6))), 0.0);
  float shine = pow(max(dot(n, normalize(normalize(light) + view)), 0.0), 36.0);
  float rim = pow(1.0 - max(dot(n, view), 0.0), 3.0);
  vec3 lit = base * (mix(0.20, 0.44, sky) + 0.62 * key + 0.12 * fill);
  lit += 0.07 * shine + 0.10 * rim * mix(base, vec3(1.0), 0.4);
  result = vec4(pow(lit, vec3(1.0 / 2.2)), 1.0);
}`;

const FLOOR_VERTEX_SHADER = `#version 300 es
precision highp float;
layout(location = 0) in vec2 corner;
uniform mat4 to_clip;
uniform vec3 centre;
out vec3 world;

void main() {
  world = centre + 40.0 * vec3(corner.x, 0.0, corner.y);
  gl_Position = to_clip * vec4(world, 1.0);
}`;

// Lines every half metre, stronger every two metres, fading with the distance from the centre.
const FLOOR_FRAGMENT_SHADER = `#version 300 es
precision highp float;
in vec3 world;
uniform vec3 centre;
uniform vec4 ink;
uniform float reach;
out vec4 result;

float lines(float spacing) {
  vec2 at = world.xz / spacing;
  vec2 width = fwidth(at);
  vec2 near = abs(fract(at - 0.5) - 0.5) / width;
  float line = 1.0 - min(min(near.x, near.y), 1.0);
  return line * (1.0 - smoothstep(0.2, 0.6, max(width.x, width.y)));
}

void main() {
  float fade = 1.0 - smoothstep(0.25, 1.0, length(world.xz - centre.xz) / reach);
  float strength = max(0.45 * lines(0.5), lines(2.0)) * fade * ink.a;
  result = vec4(ink.rgb * strength, strength);
}`;
